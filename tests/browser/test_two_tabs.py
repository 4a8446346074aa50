"""Two people, or two tabs, that have the same form open."""

from playwright.sync_api import expect

from scripts.stack import Stack
from tests.browser.conftest import SignIn, save
from tests.stack_data import add_devices, add_staff, add_tenant


def test_the_second_is_led_to_what_the_first_changed_and_decides(
    stack: Stack, sign_in: SignIn
) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    first, second = (sign_in(add_staff(stack, tenant_id)) for _ in range(2))
    url = f"/admin/devices/device/{device.id}/change/"
    for page in (first, second):
        page.goto(url)
    first.get_by_label("Name", exact=True).fill("Kim's phone")
    save(first)
    first.wait_for_url("**/device/")

    second.get_by_label("Grace").fill("31")
    save(second)

    expect(second.get_by_text("has since changed this to “Kim's phone”.")).to_be_in_viewport()
    expect(second.get_by_label("Name", exact=True)).to_be_focused()
    expect(second.get_by_label("Grace")).to_have_value("31")
    save(second)
    second.wait_for_url("**/device/")
    second.goto(url)
    expect(second.get_by_label("Name", exact=True)).to_have_value("")
    expect(second.get_by_label("Grace")).to_have_value("31")
