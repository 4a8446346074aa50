"""A member signs in with a second factor in a real browser, and revokes a device's key."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.browser.authenticator_app import activate_totp, fill_in_code
from tests.browser.conftest import SignIn, fill_in_login, new_page
from tests.second_factor import code_for
from tests.stack_data import PASSWORD, StackDevice, add_devices, add_staff, add_tenant

DEVICES = "/admin/devices/device/"
REVOKED_WITHIN_S = 5


def post_heartbeat(stack: Stack, key: str) -> int:
    """The status of the answer to a heartbeat with this key."""
    request = urllib.request.Request(
        f"{stack.ingest_url}/api/v1/heartbeats",
        data=b"{}",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def device(stack: Stack) -> StackDevice:
    return add_devices(stack, add_tenant(stack), ["stranger"])[0]


def test_a_member_with_a_second_factor_rotates_a_key_and_the_old_one_is_refused(
    stack: Stack, browser: Browser, sign_in: SignIn, device: StackDevice
) -> None:
    tenant_id = add_tenant(stack)
    (own,) = add_devices(stack, tenant_id, ["phone"])
    user = add_staff(stack, tenant_id, "manager")
    secret, used = activate_totp(sign_in(user))

    page = new_page(browser, base_url=stack.portal_url)
    page.goto(DEVICES)
    fill_in_login(page, user)
    page.goto(DEVICES)  # the password is not enough
    fill_in_code(page, code_for(secret, used=used))

    expect(page).to_have_url(re.compile(f"{DEVICES}$"))
    expect(page.get_by_role("link", name="phone")).to_be_visible()
    expect(page.get_by_text(device.device_id)).to_have_count(0)

    assert post_heartbeat(stack, own.key) == 202
    page.goto(f"{DEVICES}{own.id}/change/")
    old = page.get_by_role("row").filter(has_text=own.key.split("_")[1])
    old.get_by_role("link", name="Rotate…").click()
    page.get_by_role("button", name="Rotate").click()
    new_key = page.locator("[data-key]").inner_text()
    assert (post_heartbeat(stack, own.key), post_heartbeat(stack, new_key)) == (202, 202)
    page.get_by_role("link", name="Go to the device").click()
    old.get_by_role("link", name="Revoke…").click()
    page.get_by_role("button", name="Revoke").click()

    await_condition(
        lambda: post_heartbeat(stack, own.key) == 401, REVOKED_WITHIN_S, "the old key to be refused"
    )
    assert post_heartbeat(stack, new_key) == 202
    page.context.close()
    logs = "".join(log.read_text() for log in Path(stack.state, "log").glob("*.log"))
    for word in (PASSWORD, secret, own.key, new_key):
        assert word not in logs
