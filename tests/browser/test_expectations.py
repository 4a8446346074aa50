"""What people change about a device's presence, in a real browser."""

import pytest
from playwright.sync_api import expect

from scripts.stack import Stack
from tests.browser.conftest import SignIn, save
from tests.browser.heart import Heart
from tests.browser.test_live_admin import DEVICES, expect_state, field, open_live
from tests.stack_data import StackDevice, add_devices, add_staff, add_tenant, query


@pytest.fixture
def tenant_id(stack: Stack) -> int:
    return add_tenant(stack)


@pytest.fixture
def device(stack: Stack, tenant_id: int) -> StackDevice:
    """Late after 2 s of silence, offline after 4 s."""
    return add_devices(stack, tenant_id, ["phone"], interval_s=1, grace_s=1)[0]


def test_a_longer_interval_brings_a_silent_device_back_on_every_open_page(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    watching, acting = (sign_in(add_staff(stack, tenant_id)) for _ in range(2))
    open_live(watching, DEVICES)
    with Heart(stack, device):
        expect_state(watching, device, "online")
    expect_state(watching, device, "offline")

    acting.goto(f"{DEVICES}{device.id}/change/")
    acting.get_by_label("Expected interval").fill("86400")
    save(acting)

    expect_state(watching, device, "online")
    expect(field(watching, device, "reason")).to_contain_text("expected every 1\N{NO-BREAK SPACE}d")


def test_a_pause_ends_at_the_time_that_was_picked(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, tenant_id))
    page.goto(f"{DEVICES}{device.id}/pause/")
    page.get_by_label("Reason").fill("Christmas")
    page.get_by_placeholder("Date").fill("2126-12-24")
    page.get_by_placeholder("Time").fill("08:00")
    page.get_by_role("button", name="Pause").click()

    expect_state(page, device, "paused")
    expect(field(page, device, "reason")).to_contain_text("until 2126-12-24 08:00 UTC: Christmas")

    # As if that time had come.
    query(
        stack,
        "UPDATE telemetry_devicestatus SET paused_until = now() WHERE device_id = %s",
        device.id,
    )
    expect_state(page, device, "new")
    expect(field(page, device, "reason")).to_have_text("the pause ended; never heard from")


def test_a_refused_device_says_why_on_its_page(
    stack: Stack, tenant_id: int, device: StackDevice, sign_in: SignIn
) -> None:
    query(
        stack,
        "INSERT INTO telemetry_lastrefusal "
        "(device_id, accepted, tenant_id, at, since, count, reason, sample) "
        "VALUES (%s, false, %s, now(), now(), 12, '`battery_pct` 255, at most 100', '{…}')",
        device.id,
        tenant_id,
    )
    status = "UPDATE telemetry_devicestatus SET state = 'refused', late_at = now() + %s::interval"
    query(stack, f"{status} WHERE device_id = %s", "1 hour", device.id)
    page = sign_in(add_staff(stack, tenant_id))
    open_live(page, f"{DEVICES}{device.id}/change/")
    expect(page.get_by_text("It speaks, but 12 messages were refused since")).to_be_visible()

    # Once a sweep looks, it has been silent for long.
    query(stack, f"{status} WHERE device_id = %s", "0 s", device.id)
    expect_state(page, device, "offline")
    words = "before that, 12 messages were refused since"
    expect(field(page, device, "reason")).to_contain_text(words)
    expect(field(page, device, "reason").locator("code")).to_have_text("battery_pct")
