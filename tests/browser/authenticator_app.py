"""An authenticator app, and the pages where its codes are entered."""

import re

from playwright.sync_api import Page, expect

from tests.second_factor import code_for
from tests.stack_data import PASSWORD


def fill_in_code(page: Page, code: str) -> None:
    """Enters a code after the password; returns when the page is left or shows an error."""
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign in").click()


def activate_totp(page: Page, *, password: str = PASSWORD) -> tuple[str, str]:
    """Sets up an authenticator app in the browser; returns its secret and the code used."""
    page.goto("/accounts/2fa/")
    follow(page, "Activate")
    confirm_password(page, password)
    secret = page.get_by_label("Authenticator secret").input_value()
    code = code_for(secret)
    page.get_by_label("Authenticator code").fill(code)
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_text(re.compile("Authenticator app activated", re.I))).to_be_visible()
    return secret, code


def follow(page: Page, name: str) -> None:
    """Opens the link; returns when its page has loaded."""
    href = page.get_by_role("link", name=name, exact=True).get_attribute("href")
    assert href is not None
    page.goto(href)


def confirm_password(page: Page, password: str = PASSWORD) -> None:
    """Confirms the person's identity if the portal asks for it before a change. People without a
    password are not asked."""
    if page.get_by_role("button", name="Confirm").is_visible():
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Confirm").click()
