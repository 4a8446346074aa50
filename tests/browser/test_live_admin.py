"""The admin in a real browser, while real devices speak and fall silent."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from scripts.stack import Stack
from scripts.waiting import healthy
from telemetry.presence.reasons import duration
from tests.browser.conftest import SignIn, fill_in_login
from tests.browser.heart import Heart
from tests.stack_data import StackDevice, add_devices, add_staff, add_tenant, query

DEVICES = "/admin/devices/device/"
LOST = re.compile(r"^as of \d\d:\d\d:\d\d UTC, reconnecting…$")
TRAP = "<img src=x onerror='window.trapped = 1'>"


@pytest.fixture
def tenant_id(stack: Stack) -> int:
    return add_tenant(stack)


@pytest.fixture
def device(stack: Stack, tenant_id: int) -> StackDevice:
    """Late after 2 s of silence, offline after 4 s."""
    return add_devices(stack, tenant_id, ["phone"], interval_s=1, grace_s=1)[0]


@pytest.fixture
def portal(stack: Stack) -> Iterator[Stack]:
    """A stack whose portal a test may kill."""
    yield stack
    if not healthy(f"{stack.portal_url}/health"):
        stack.start("portal")
    stack.await_servers()


def open_live(page: Page, path: str) -> None:
    """Opens a page, marked so that a reload would be noticed."""
    page.goto(path)
    page.evaluate("window.notReloaded = true")
    expect(page.locator("[data-live-text]")).to_have_text("live")


def expect_not_reloaded(page: Page) -> None:
    assert page.evaluate("window.notReloaded") is True


def field(page: Page, device: StackDevice, name: str) -> Locator:
    return page.locator(f'[data-device="{device.id}"][data-field="{name}"]')


def expect_state(page: Page, device: StackDevice, state: str) -> None:
    expect(field(page, device, "state")).to_have_text(state)
    badge = field(page, device, "state").locator(".rc-state")
    expect(badge).to_have_attribute("data-state", state)


def seconds_ago(locator: Locator) -> int:
    found = re.fullmatch(r"(\d+) s ago", locator.inner_text())
    assert found
    return int(found[1])


def test_a_row_follows_its_device_without_a_reload(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id, "viewer"))
    open_live(page, DEVICES)
    expect_state(page, device, "new")
    expect(field(page, device, "last_seen")).to_have_text("never")

    with Heart(stack, device, battery_pct=12):
        expect_state(page, device, "online")
        expect(field(page, device, "battery_pct")).to_have_text("12 %")
        expect(field(page, device, "last_seen")).to_have_text(re.compile(r"^[0-2] s ago$"))

    expect_state(page, device, "late")
    expect_state(page, device, "offline")
    expect(field(page, device, "reason")).to_have_text(re.compile(r"^no message for .\ss, one"))
    expect(page.locator("[data-live-news]")).to_have_text("phone is offline")
    offline = page.locator('.rc-count[data-state="offline"] strong')
    expect(offline).to_have_text("1")

    with Heart(stack, device):
        expect_state(page, device, "online")
        expect(offline).to_have_text("0")
    expect_not_reloaded(page)


def test_the_time_since_it_was_seen_counts_on_though_the_browsers_clock_is_wrong(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    page.add_init_script("const right = Date.now; Date.now = () => right() + 86_400_000")
    open_live(page, DEVICES)
    with Heart(stack, device):
        expect_state(page, device, "online")

    last_seen = field(page, device, "last_seen")
    before = seconds_ago(last_seen)
    assert before < 5
    page.wait_for_function(
        "([selector, from]) => parseInt(document.querySelector(selector).innerText) >= from + 3",
        arg=[f'[data-device="{device.id}"][data-field="last_seen"]', before],
    )
    assert seconds_ago(last_seen) < 60


def test_the_browser_writes_durations_as_the_server_does(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    open_live(page, f"{DEVICES}{device.id}/change/")
    since = field(page, device, "state_since").locator("time")

    for seconds in (100, 505, 3599, 11_430, 187_200):
        began = "(time, s) => { time.dateTime = new Date(Date.now() - s * 1000).toISOString(); }"
        since.evaluate(began, seconds)
        counted_on = "|".join(duration(seconds + passed) for passed in range(10))
        expect(since).to_have_text(re.compile(f"^({counted_on})$"))


def test_the_page_of_a_device_grows_its_timeline_without_a_reload(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    open_live(page, f"{DEVICES}{device.id}/change/")
    events = page.locator(".rc-timeline li")
    expect(events).to_have_count(0)

    with Heart(stack, device, version="1.2.3", battery_pct=80):
        expect_state(page, device, "online")
        expect(events).to_have_count(1)
        expect(page.locator(".rc-facts")).to_contain_text("1.2.3")
        expect(page.locator(".rc-table tbody tr").first).to_contain_text("80 %")

    expect_state(page, device, "offline")
    expect(events.first).to_contain_text("no message for")
    assert events.locator(".rc-state").all_inner_texts()[-1] == "online"
    expect_not_reloaded(page)


def test_the_first_page_names_who_falls_silent(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    open_live(page, "/admin/")
    expect(page.get_by_text("No device has sent a message yet")).to_be_visible()

    with Heart(stack, device):
        expect(page.locator('.rc-count[data-state="online"] strong')).to_have_text("1")
    expect(page.get_by_role("link", name="phone")).to_be_visible()
    expect_state(page, device, "offline")
    expect_not_reloaded(page)


def test_an_open_list_says_how_many_devices_others_added_and_deleted(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    outsider_id = add_tenant(stack)
    pages = [sign_in(add_staff(stack, one)) for one in (tenant_id, outsider_id)]
    for page in pages:
        open_live(page, f"{DEVICES}?o=2")
    watching, outside = (page.locator(".rc-changes") for page in pages)

    add_devices(stack, tenant_id, ["tablet", "watch"])
    acting = sign_in(add_staff(stack, tenant_id))
    acting.goto(f"{DEVICES}{device.id}/delete/")
    acting.get_by_role("button", name=f"Delete {device.device_id}").click()
    expect(acting.get_by_text("was deleted successfully")).to_be_visible()
    add_devices(stack, outsider_id, ["probe"])

    said = "2 devices added, 1 device deleted since this list was opened"
    expect(watching).to_contain_text(said)
    expect(outside).to_have_text(re.compile(r"^\s*1 device added since"))
    watching.get_by_role("link", name="reload").click()
    expect(pages[0].locator("#result_list tbody")).to_have_count(2)
    expect(pages[0]).to_have_url(re.compile(r"\?o=2$"))
    expect(watching).to_have_count(0)


def test_the_socket_comes_back_after_the_portal_and_catches_up(
    portal: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(portal, tenant_id))
    open_live(page, DEVICES)
    expect_state(page, device, "new")

    portal.kill("portal")
    expect(page.locator("[data-live-text]")).to_have_text(LOST)
    with Heart(portal, device):
        portal.start("portal")
        expect(page.locator("[data-live-text]")).to_have_text("live")
        expect_state(page, device, "online")
    expect_not_reloaded(page)


def test_a_page_that_cannot_be_kept_up_to_date_says_so(
    stack: Stack, tenant_id: int, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    open_live(page, "/admin/")
    word = page.locator("[data-live-text]")

    page.route("**/fleet/", lambda route: route.fulfill(status=503))
    expect(word).to_have_text("out of date, trying again…")
    page.set_viewport_size({"width": 390, "height": 700})
    said, counts = word.bounding_box(), page.locator(".rc-counts").bounding_box()
    assert said and counts
    assert said["x"] >= 0
    assert said["y"] + said["height"] <= counts["y"]
    page.unroute("**/fleet/")
    expect(word).to_have_text("live")

    page.context.set_offline(True)
    expect(word).to_have_text(LOST)
    page.context.set_offline(False)
    expect(word).to_have_text("live")


def test_who_is_signed_out_meanwhile_is_led_to_sign_in(
    portal: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    user = add_staff(portal, tenant_id)
    page = sign_in(user)
    open_live(page, DEVICES)

    page.context.clear_cookies()
    portal.kill("portal")
    portal.start("portal")

    link = page.get_by_role("link", name="sign in")
    expect(link).to_be_visible()
    link.click()
    fill_in_login(page, user)
    expect(page).to_have_url(re.compile(f"{DEVICES}$"))


def test_who_is_removed_from_the_tenant_meanwhile_is_told_so_and_of_nothing_deleted(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    user = add_staff(stack, tenant_id)
    page = sign_in(user)
    open_live(page, DEVICES)

    query(
        stack,
        "DELETE FROM devices_membership USING auth_user u WHERE user_id = u.id AND username = %s",
        user,
    )

    word = page.locator("[data-live-text]")
    expect(page.locator(".rc-changes")).to_contain_text("The devices you can see have changed")
    expect(word).to_have_text("you belong to no tenant")
    expect_not_reloaded(page)


def test_the_page_of_a_device_that_was_deleted_elsewhere_says_so_and_takes_nothing_more(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page, acting = (sign_in(add_staff(stack, tenant_id)) for _ in range(2))
    with Heart(stack, device):
        open_live(page, f"{DEVICES}{device.id}/change/")
        expect_state(page, device, "online")
    page.get_by_label("Grace").fill("31")

    acting.goto(f"{DEVICES}{device.id}/delete/")
    acting.get_by_role("button", name=f"Delete {device.device_id}").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This device was deleted")
    expect(alert).to_contain_text("Nothing can be saved here")
    expect(alert).to_be_in_viewport()
    expect(page.locator("[data-live-text]")).to_have_text("gone")
    expect(page.get_by_label("Name", exact=True)).to_be_disabled()
    for save in page.get_by_role("button", name="Save").all():
        expect(save).to_be_disabled()
    expect(page.locator("time[data-count]")).to_have_count(0)
    expect_not_reloaded(page)


def test_what_devices_and_people_write_is_shown_as_text(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    watching, acting = (sign_in(add_staff(stack, tenant_id)) for _ in range(2))
    open_live(watching, DEVICES)
    with Heart(stack, device, version=TRAP, note=TRAP):
        expect_state(watching, device, "online")

    acting.goto(f"{DEVICES}{device.id}/pause/")
    acting.get_by_label("Reason").fill(TRAP)
    acting.get_by_role("button", name="Pause").click()

    expect(acting.locator(".rc-facts")).to_contain_text(TRAP)
    expect_state(watching, device, "paused")
    expect(field(watching, device, "reason")).to_contain_text(TRAP)
    for page in (watching, acting):
        assert page.evaluate("window.trapped") is None


def test_a_key_issued_in_the_browser_brings_its_device_online_on_that_page(
    stack: Stack, tenant_id: int, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    page.goto(f"{DEVICES}add/")
    page.get_by_label("Device ID").fill("sensor-1")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("link", name="Issue key").click()
    page.get_by_role("button", name="Issue key").click()

    key = page.locator("[data-key]").inner_text()
    issued = StackDevice(int(page.url.split("/")[-3]), "sensor-1", key)
    expect_state(page, issued, "new")
    with Heart(stack, issued):
        expect_state(page, issued, "online")

    page.reload()  # shows the device, and issues no other key
    keys = page.locator("#credentials-group")
    expect(keys).to_contain_text(key.split("_")[1])
    expect(keys.get_by_text("in force")).to_have_count(1)
    expect(page.get_by_text(key)).to_have_count(0)


def test_a_member_of_another_tenant_sees_nothing_of_the_device(
    stack: Stack, device: StackDevice, sign_in: SignIn
) -> None:
    outsider_id = add_tenant(stack)
    (own,) = add_devices(stack, outsider_id, ["probe"])
    page = sign_in(add_staff(stack, outsider_id, "owner"))
    open_live(page, DEVICES)

    with Heart(stack, device), Heart(stack, own):
        expect_state(page, own, "online")
    expect(page.locator("#result_list tbody")).to_have_count(1)
    expect(page.get_by_text("phone", exact=True)).to_have_count(0)

    page.goto(f"{DEVICES}{device.id}/change/")
    expect(page).to_have_url(re.compile(r"/admin/$"))
