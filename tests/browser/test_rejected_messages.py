"""A correction of a rejected message is not lost, whichever button is pressed next."""

import json

import pytest
from playwright.sync_api import Page, expect

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.browser.conftest import SignIn
from tests.stack_data import add_devices, add_staff, add_tenant, query

STORE_TIMEOUT_S = 60


@pytest.fixture
def device_id(stack: Stack) -> int:
    (device,) = add_devices(stack, add_tenant(stack), ["phone"])
    return device.id


@pytest.fixture
def page(stack: Stack, sign_in: SignIn, device_id: int) -> Page:
    """The page of a message that was rejected."""
    ((tenant_id,),) = query(stack, "SELECT tenant_id FROM devices_device WHERE id=%s", device_id)
    ((message_id,),) = query(
        stack,
        """INSERT INTO ingest_rejectedmessage (tenant_id, device_id, kind, reason, error, payload,
           received_at, shard, replayed_by) VALUES (%s, %s, 'reading', 'invalid_data',
           'text with the character U+0000 cannot be stored',
           '{"device_id": "phone", "metrics": {"text": "a\\u0000b"}}', now(), 0, '')
           RETURNING id""",
        tenant_id,
        device_id,
    )
    # As it was counted when it was accepted and rejected.
    query(
        stack,
        """INSERT INTO ingest_ledgerminute (tenant_id, minute, shard, accepted, stored, joined,
           duplicate, conflict, late, rejected, replayed)
           VALUES (%s, date_trunc('minute', now()), 0, 1, 0, 0, 0, 0, 0, 1, 0)""",
        tenant_id,
    )
    page = sign_in(add_staff(stack, tenant_id))
    page.goto(f"/admin/ingest/rejectedmessage/{message_id}/change/")
    return page


def correct(page: Page, temp_c: float) -> None:
    corrected = {"device_id": "phone", "metrics": {"temp_c": temp_c}}
    page.get_by_label("Payload").fill(json.dumps(corrected))


def expect_stored(stack: Stack, device_id: int, temp_c: float) -> None:
    statement = "SELECT metrics FROM telemetry_reading WHERE device_id = %s"
    await_condition(
        lambda: query(stack, statement, device_id) == [({"temp_c": temp_c},)],
        STORE_TIMEOUT_S,
        "the corrected reading to be stored",
    )


@pytest.mark.parametrize("by_link", [False, True])
def test_a_correction_is_saved_and_replayed(
    stack: Stack, page: Page, device_id: int, *, by_link: bool
) -> None:
    correct(page, 3.5)
    if by_link:
        page.get_by_role("link", name="Replay").click()
    else:
        page.get_by_role("button", name="Save and replay").click()
    expect(page.get_by_text("Replaying 1 message.")).to_be_visible()
    expect_stored(stack, device_id, 3.5)


def test_a_correction_that_was_refused_is_not_lost_either(
    stack: Stack, page: Page, device_id: int
) -> None:
    page.get_by_label("Payload").fill("not JSON")
    page.get_by_role("link", name="Replay").click()
    expect(page.locator(".errornote").first).to_be_visible()
    page.get_by_role("link", name="Replay").click()
    expect(page.locator(".errornote").first).to_be_visible()
    expect(page.get_by_label("Payload")).to_have_value("not JSON")
    correct(page, 4.5)
    page.get_by_role("button", name="Save and replay").click()
    expect_stored(stack, device_id, 4.5)


def test_without_a_correction_replay_asks_first(page: Page) -> None:
    page.get_by_role("link", name="Replay").click()
    expect(page.get_by_text("Rollcall tries to store it again")).to_be_visible()
