"""People who get in by e-mail, in a real browser: by invitation, and with a forgotten password."""

import re
import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.stack import Stack
from tests.browser.authenticator_app import activate_totp, fill_in_code
from tests.browser.conftest import SignIn, fill_in_login, listen, new_page
from tests.browser.mailbox import latest_link
from tests.second_factor import code_for
from tests.stack_data import add_devices, add_staff, add_tenant

DEVICES = "/admin/devices/device/"
PASSWORD, NEW_PASSWORD = "an otter's umbrella", "a heron's raincoat"


@pytest.fixture
def open_browser(
    browser: Browser, stack: Stack, complaints: list[str]
) -> Iterator[Callable[[], Page]]:
    """Opens a browser in which nobody is signed in."""
    pages: list[Page] = []

    def open_page() -> Page:
        pages.append(new_page(browser, base_url=stack.portal_url))
        listen(pages[-1], complaints)
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()


def invite(page: Page, address: str) -> None:
    page.goto("/admin/devices/invitation/add/")
    page.get_by_label("E-mail").fill(address)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(f"The link was sent to {address}")).to_be_visible()


def send_again(page: Page, address: str) -> None:
    page.locator("#result_list").get_by_role("link", name=address).click()
    page.get_by_role("link", name="Send again").first.click()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text(f"The link was sent to {address}")).to_be_visible()


def set_password_anew(page: Page, address: str) -> None:
    """Sets a new password with the link from the e-mail."""
    page.goto("/accounts/login/")
    page.get_by_role("link", name="Forgot").click()
    page.get_by_label("Email").fill(address)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="Check your e-mail")).to_be_visible()
    page.goto(latest_link(address))
    page.get_by_label("New Password", exact=True).fill(NEW_PASSWORD)
    page.get_by_label("New Password (again)").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("heading", name="Your password has been changed")).to_be_visible()


def test_an_invited_person_joins_by_the_link_and_a_new_password_leaves_the_second_factor(
    stack: Stack, sign_in: SignIn, open_browser: Callable[[], Page]
) -> None:
    tenant, other = add_tenant(stack), add_tenant(stack)
    add_devices(stack, tenant, ["own-phone"])
    add_devices(stack, other, ["strangers-phone"])
    name = f"n-{secrets.token_hex(4)}"
    address = f"{name}@example.org"
    owner = sign_in(add_staff(stack, tenant, "owner"))
    invite(owner, address)
    send_again(owner, address)

    newcomer, link = open_browser(), latest_link(address)
    newcomer.goto(link)
    newcomer.get_by_label("User name").fill(name)
    newcomer.get_by_label("Password", exact=True).fill(PASSWORD)
    newcomer.get_by_label("Password confirmation").fill(PASSWORD)
    newcomer.get_by_role("button", name="Join").click()
    newcomer.goto(DEVICES)
    expect(newcomer.get_by_role("link", name="own-phone")).to_be_visible()
    expect(newcomer.get_by_text("strangers-phone")).to_have_count(0)
    second = open_browser()
    second.goto(link)
    expect(second.get_by_text("This invitation has already been accepted")).to_be_visible()
    secret, used = activate_totp(newcomer, password=PASSWORD)

    forgetful = open_browser()
    set_password_anew(forgetful, address)
    forgetful.goto(DEVICES)  # the link alone signs nobody in
    fill_in_login(forgetful, address, PASSWORD)
    expect(forgetful.get_by_role("alert")).to_be_visible()  # nor does the old password
    fill_in_login(forgetful, address, NEW_PASSWORD)
    fill_in_code(forgetful, "000000")
    expect(forgetful.get_by_text("Incorrect code")).to_be_visible()
    forgetful.goto(DEVICES)
    fill_in_code(forgetful, code_for(secret, used=used))
    expect(forgetful).to_have_url(re.compile(f"{DEVICES}$"))

    # Sessions of the old password have ended, and the link works only once.
    newcomer.goto(DEVICES)
    expect(newcomer.get_by_role("heading", name="Sign in")).to_be_visible()
    second.goto(latest_link(address))
    expect(second.get_by_label("New Password", exact=True)).to_have_count(0)
