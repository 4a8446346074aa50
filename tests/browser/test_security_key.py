"""A security key as the second factor, in a real browser with a virtual authenticator."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from scripts.stack import Stack
from tests.browser.authenticator_app import confirm_password, follow
from tests.browser.conftest import fill_in_login, listen, new_page
from tests.stack_data import add_staff, add_tenant

FACTORS = "/accounts/2fa/"
KEYS = "/accounts/2fa/webauthn/"
# Without a PIN, like keys that are only a second factor; it is touched at once.
KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasResidentKey": False,
    "hasUserVerification": False,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def page(browser: Browser, stack: Stack, complaints: list[str]) -> Iterator[Page]:
    """The portal at localhost, where browsers offer security keys without TLS."""
    page = new_page(browser, base_url=stack.portal_url.replace("127.0.0.1", "localhost"))
    listen(page, complaints)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.context.close()


@pytest.fixture
def plugs(page: Page) -> CDPSession:
    """The browser's virtual authenticators, where security keys are plugged in."""
    session: CDPSession = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    return session


@pytest.fixture
def user(stack: Stack) -> str:
    return add_staff(stack, add_tenant(stack))


def plug_in(plugs: CDPSession) -> str:
    """A new key; returns its id."""
    added = plugs.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    return str(added["authenticatorId"])


def sign_in(page: Page, user: str) -> None:
    page.goto("/admin/")
    fill_in_login(page, user)


def add_key(page: Page) -> None:
    """Adds a security key on the account pages of a signed-in person."""
    expect(page).to_have_url(re.compile("/admin/$"))
    page.goto(FACTORS)
    follow(page, "Add")
    confirm_password(page)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Security key added")).to_be_visible()


def test_a_member_adds_a_security_key_signs_in_with_it_and_removes_it(
    page: Page, plugs: CDPSession, user: str
) -> None:
    plug_in(plugs)
    sign_in(page, user)
    add_key(page)
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()

    sign_in(page, user)
    page.goto("/admin/")  # the password is not enough
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page.get_by_role("button", name="Use a security key").click()
    expect(page).to_have_url(re.compile("/admin/$"))

    page.goto(KEYS)
    expect(page.get_by_text("never")).to_have_count(0)  # it was used
    follow(page, "Remove…")
    confirm_password(page)
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("None yet")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, user)
    expect(page).to_have_url(re.compile("/admin/$"))


def test_a_key_of_somebody_else_opens_nothing_and_the_page_says_so(
    page: Page, plugs: CDPSession, user: str
) -> None:
    own = plug_in(plugs)
    sign_in(page, user)
    add_key(page)
    page.get_by_role("button", name="Sign out").click()
    plugs.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": own})
    plug_in(plugs)

    sign_in(page, user)
    page.get_by_role("button", name="Use a security key").click()

    expect(page.get_by_role("alert")).to_contain_text("No security key of this account was used")
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()


def test_where_browsers_offer_no_security_keys_the_page_says_where_they_do(
    stack: Stack, page: Page, plugs: CDPSession, user: str
) -> None:
    plug_in(plugs)
    page.goto(f"{stack.portal_url}/admin/")
    fill_in_login(page, user)
    page.goto(f"{stack.portal_url}{KEYS}add/")
    confirm_password(page)
    page.get_by_role("button", name="Add").click()

    expect(page.get_by_role("alert")).to_contain_text("only over HTTPS or on localhost")
    page.get_by_role("link", name="Open this page on localhost.").click()
    expect(page).to_have_url(re.compile("^http://localhost:.*/accounts/login/"))
