"""After an error, an admin form is scrolled into view."""

from playwright.sync_api import Page, expect

from devices.tenancy.access import Role
from scripts.stack import Stack
from tests.browser.conftest import SignIn, save
from tests.stack_data import add_devices, add_staff, add_tenant


def device_page(stack: Stack, sign_in: SignIn) -> Page:
    """A device's page, where its state and its messages fill the window above the form."""
    tenant_id = add_tenant(stack)
    device, _ = add_devices(stack, tenant_id, ["phone", "other"])
    page = sign_in(add_staff(stack, tenant_id))
    page.set_viewport_size({"width": 1280, "height": 600})
    page.goto(f"/admin/devices/device/{device.id}/change/")
    return page


def test_at_the_field(stack: Stack, sign_in: SignIn) -> None:
    page = device_page(stack, sign_in)
    page.get_by_label("Grace").fill("-1")
    save(page)
    expect(page.get_by_label("Grace")).to_be_focused()
    expect(page.get_by_label("Grace")).to_be_in_viewport()


def test_at_its_top_if_no_field_is_wrong(stack: Stack, sign_in: SignIn) -> None:
    page = device_page(stack, sign_in)
    page.get_by_label("Device ID").fill("other")
    save(page)
    expect(page.get_by_text("already has a device with this device ID")).to_be_in_viewport()


def test_at_what_is_wrong_with_rows_below_it(stack: Stack, sign_in: SignIn) -> None:
    tenant_id = add_tenant(stack)
    page = sign_in(add_staff(stack, tenant_id, Role.OWNER))
    page.set_viewport_size({"width": 1280, "height": 500})
    page.goto(f"/admin/devices/tenant/{tenant_id}/change/")
    page.locator("[name=memberships-0-role]").select_option("viewer")
    save(page)
    expect(page.get_by_text("A tenant needs at least one owner")).to_be_in_viewport()
