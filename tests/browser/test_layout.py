"""How pages of the admin fit the screen."""

import json

import pytest
from playwright.sync_api import Locator, Page, expect

from scripts.stack import Stack
from tests.browser.conftest import SignIn
from tests.browser.heart import Heart
from tests.stack_data import add_devices, add_staff, add_tenant, query

DEVICES = "/admin/devices/device/"
# Our policy allows no other way to add styles to a page.
HIDE_TABLES = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(".rc-table { visibility: hidden; }");
    document.adoptedStyleSheets = [sheet];
}"""

# The label of each cell, and how its style changes the case of letters.
LABELS = """cells => cells.map(
    cell => [cell.dataset.label, getComputedStyle(cell, "::before").textTransform]
)"""


def box_of(element: Locator) -> tuple[float, float, float, float]:
    box = element.bounding_box()
    assert box
    return box["x"], box["y"], box["width"], box["height"]


def edges(page: Page, element: Locator) -> tuple[bytes, bytes]:
    """How the left and the right edge look."""
    x, y, width, height = box_of(element)
    left, right = (
        page.screenshot(clip={"x": start, "y": y, "width": 4, "height": min(height, 40)})
        for start in (x, x + width - 4)
    )
    return left, right


def goes_on_sideways(page: Page) -> int:
    """By how many pixels the page is wider than the screen."""
    root = "document.documentElement"
    return int(page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


def test_the_tenant_of_a_new_device_is_chosen_in_a_field_as_wide_as_others(
    stack: Stack, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, None))
    page.goto(f"{DEVICES}add/")
    _, _, tenant, _ = box_of(page.get_by_label("Tenant"))
    _, _, kind, _ = box_of(page.get_by_label("Kind"))
    assert tenant == kind


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_wide_table_shows_at_its_edge_that_it_goes_on(
    stack: Stack, sign_in: SignIn, theme: str
) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    page = sign_in(add_staff(stack, tenant_id))
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    with Heart(stack, device, version="4.1.7-long-enough", battery_pct=64, rssi_dbm=-63):
        page.goto(f"{DEVICES}{device.id}/change/")
        expect(page.locator(".rc-table tbody tr")).not_to_have_count(0)
    table = page.locator(".rc-table")
    scroller = page.locator(".rc-scroll", has=table)
    scroller.scroll_into_view_if_needed()
    # So that only the edges are compared, not the text.
    page.evaluate(HIDE_TABLES)

    first_left, first_right = edges(page, scroller)
    scroller.evaluate("one => one.scrollLeft = one.scrollWidth")
    last_left, last_right = edges(page, scroller)
    assert first_left != last_left
    assert first_right != last_right


@pytest.mark.parametrize("width", [1280, 390])
def test_long_names_and_values_of_metrics_stay_in_their_card(
    stack: Stack, sign_in: SignIn, width: int
) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    metrics = {f"{i:02}{'m' * 62}": f"{i:02}{'w' * 198}" for i in range(60)}
    query(
        stack,
        "UPDATE telemetry_devicestatus SET metrics = %s, last_reading_at = now() "
        "WHERE device_id = %s",
        json.dumps(metrics),
        device.id,
    )
    page = sign_in(add_staff(stack, tenant_id))
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{DEVICES}{device.id}/change/")

    value = page.get_by_title(metrics[f"59{'m' * 62}"])
    assert goes_on_sideways(page) == 0
    assert box_of(value)[3] < 70


def test_the_pages_of_a_long_list_stay_on_a_narrow_screen(stack: Stack, sign_in: SignIn) -> None:
    tenant_id = add_tenant(stack)
    query(
        stack,
        "INSERT INTO devices_device (tenant_id, device_id, name, kind, expected_interval_s, "
        "grace_s, created_at) SELECT %s, 'phone-' || i, '', 'phone', 60, 30, now() "
        "FROM generate_series(1, 5001) i",
        tenant_id,
    )
    page = sign_in(add_staff(stack, tenant_id))
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{DEVICES}?p=30")

    expect(page.get_by_role("link", name="101", exact=True)).to_be_visible()
    assert goes_on_sideways(page) == 0


def test_labels_of_a_narrow_list_are_in_sentence_case(stack: Stack, sign_in: SignIn) -> None:
    page = sign_in(add_staff(stack, None))
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/admin/auth/user/")

    row = page.locator("#result_list tr:has([data-label])").first
    labels = row.locator("[data-label]").evaluate_all(LABELS)
    assert "May sign in" in [label for label, _ in labels]
    assert {case for _, case in labels} == {"none"}
