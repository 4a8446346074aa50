"""The pages work under the content security policy, and the browser reports no violation."""

from playwright.sync_api import expect

from scripts.stack import Stack
from tests.browser.conftest import SignIn, listen
from tests.stack_data import add_devices, add_staff, add_tenant

PAGES = (
    "/admin/",
    "/admin/devices/device/",
    "/admin/devices/device/add/",
    "/admin/devices/device/{device}/change/",
    "/admin/devices/device/{device}/history/",
    "/admin/devices/device/{device}/pause/",
    "/admin/devices/site/",
    "/admin/devices/credential/",
    "/admin/devices/enrolmenttoken/add/",
    "/admin/devices/tenant/{tenant}/change/",
    "/admin/devices/historyentry/",
    "/admin/devices/operatoraccess/",
    "/admin/ingest/rejectedmessage/",
    "/admin/ingest/rejectedmessage/ledger/",
    "/admin/auth/user/",
    "/admin/django_celery_beat/periodictask/",
)


def test_the_main_pages_of_the_admin_obey_their_policy(
    stack: Stack, sign_in: SignIn, complaints: list[str]
) -> None:
    tenant = add_tenant(stack)
    (device,) = add_devices(stack, tenant, ["phone"])
    page = sign_in(add_staff(stack, None))
    listen(page, complaints)
    for path in PAGES:
        url = path.format(device=device.id, tenant=tenant)
        answer = page.goto(url)
        assert answer is not None and answer.status == 200, url
        # unfold's parts of the page work because the admin's policy allows what they need.
        page.wait_for_function("window.Alpine !== undefined")


def test_the_description_of_the_api_is_shown_under_its_policy(
    stack: Stack, sign_in: SignIn, complaints: list[str]
) -> None:
    page = sign_in(add_staff(stack, None))
    listen(page, complaints)
    title = page.locator(".swagger-ui .info .title")
    inks = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto("/api/docs/")
        expect(title).to_contain_text("Rollcall")
        inks.append(title.evaluate("one => getComputedStyle(one).color"))
    assert inks[0] != inks[1]


def test_the_live_list_filters_and_the_socket_work_under_it(
    stack: Stack, sign_in: SignIn, complaints: list[str]
) -> None:
    tenant = add_tenant(stack)
    add_devices(stack, tenant, ["phone"])
    page = sign_in(add_staff(stack, tenant))
    listen(page, complaints)
    page.goto("/admin/devices/device/")
    expect(page.locator("[data-live-text]")).to_have_text("live")
    page.goto("/admin/devices/historyentry/?subject__exact=device")
    expect(page.locator("#result_list")).to_contain_text("device phone added")


def test_a_script_inside_a_page_does_not_run(stack: Stack, sign_in: SignIn) -> None:
    page = sign_in(add_staff(stack, None))
    said: list[str] = []
    listen(page, said)
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.hit = 1';"
        " document.body.append(s); }"
    )
    assert page.evaluate("window.hit") is None
    assert said and "script-src" in said[0]
