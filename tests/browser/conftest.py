"""A real browser, and people who sign in with it."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.browser import ARGUMENTS, chromium
from scripts.stack import Stack
from tests.stack_data import PASSWORD

SignIn = Callable[[str], Page]


def fill_in_login(page: Page, user: str) -> None:
    page.get_by_label("Username or e-mail").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Per module, as Playwright keeps an event loop in this thread, which Django's ORM refuses."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def sign_in(browser: Browser, stack: Stack) -> Iterator[SignIn]:
    """Signs people in, each in a browser of their own; fails if a page had an error in a script."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_page(user: str) -> Page:
        page = browser.new_context(base_url=stack.portal_url).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/admin/")
        fill_in_login(page, user)
        page.wait_for_url("**/admin/")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert errors == []
