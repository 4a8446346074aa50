"""Forms sent by people who have been signed out in the meantime."""

from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from scripts.stack import Stack
from tests.browser.conftest import SignIn, fill_in_login, save
from tests.stack_data import StackDevice, add_devices, add_staff, add_tenant

NAME = "Kim's <phone>"


class Typed(NamedTuple):
    page: Page
    device: StackDevice
    user: str


@pytest.fixture
def typed(stack: Stack, sign_in: SignIn) -> Typed:
    """A device's form, filled in by somebody who has since been signed out."""
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    user = add_staff(stack, tenant_id)
    page = sign_in(user)
    page.goto(f"/admin/devices/device/{device.id}/change/")
    page.get_by_label("Name", exact=True).fill(NAME)
    page.context.clear_cookies(name="sessionid")
    return Typed(page, device, user)


def expect_saved(page: Page, device: StackDevice) -> None:
    page.wait_for_url("**/device/")
    page.goto(f"/admin/devices/device/{device.id}/change/")
    expect(page.get_by_label("Name", exact=True)).to_have_value(NAME)


def test_what_was_typed_is_sent_again_after_signing_in(typed: Typed) -> None:
    page, device, user = typed

    save(page)
    expect(page.get_by_role("heading", name="You are signed out.")).to_be_visible()
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("heading", name="You are signed out.")).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Sign in (new tab)").click()
    fill_in_login(opened.value, user)
    opened.value.wait_for_url("**/admin/")
    page.get_by_role("button", name="Send again").click()

    expect_saved(page, device)


def test_who_signed_in_again_in_another_tab_sends_what_was_typed(typed: Typed) -> None:
    page, device, user = typed
    other = page.context.new_page()
    other.goto("/admin/")
    fill_in_login(other, user)
    other.wait_for_url("**/admin/")

    save(page)

    expect_saved(page, device)
