"""A real browser, and people who sign in with it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from scripts.browser import ARGUMENTS, chromium
from scripts.processes import Addresses
from scripts.services.ports import port_choose
from scripts.stack import Stack
from scripts.waiting import await_condition, healthy
from tests.browser.identity_provider import IdentityProvider
from tests.stack_data import PASSWORD
from tests.waits import LIMIT_MS, LIMIT_S

SignIn = Callable[[str], Page]
COMPLAINTS = ("content security policy", "permissions-policy", "refused to")


def fill_in_login(page: Page, user: str, password: str = PASSWORD) -> None:
    page.get_by_label("User name or e-mail").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser per module, because Django's ORM refuses to run while Playwright keeps an event
    loop in this thread."""
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield browser
        browser.close()


def new_page(browser: Browser, **options: Any) -> Page:
    """A page in a separate context with its own cookies."""
    context = browser.new_context(**options)
    context.set_default_timeout(LIMIT_MS)
    return context.new_page()


@pytest.fixture
def sign_in(browser: Browser, stack: Stack) -> Iterator[SignIn]:
    """Signs people in, each in a separate browser; fails if a page had a script error."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_page(user: str) -> Page:
        page = new_page(browser, base_url=stack.portal_url)
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


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """The browser's reports about our policies; must stay empty."""
    said: list[str] = []
    yield said
    assert said == []


def listen(page: Page, said: list[str]) -> None:
    def hear(message: ConsoleMessage) -> None:
        if any(one in message.text.lower() for one in COMPLAINTS):
            said.append(f"{page.url}: {message.text}")

    page.on("console", hear)


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    running = IdentityProvider(tmp_path_factory.mktemp("provider"))
    try:
        running.await_answer()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def guarded_portal(stack: Stack, provider: IdentityProvider) -> Iterator[str]:
    """The address of a second portal with the same data, which requires a second factor and has
    single sign-on."""
    addresses = Addresses("127.0.0.1", port_choose(), stack.addresses.ingest_port)
    settings = {
        "REQUIRE_SECOND_FACTOR": "1",
        "OIDC_SERVER_URL": f"{provider.url}/",  # as many providers write it
        "OIDC_CLIENT_ID": "rollcall",
        "OIDC_CLIENT_SECRET": "only for tests",
        "OIDC_NAME": "Acme's directory",
        "REQUESTS_CA_BUNDLE": str(provider.certificate),
    }
    stack.start("guarded-portal", "portal", addresses=addresses, overrides=settings)
    url = addresses.portal_url
    await_condition(lambda: healthy(f"{url}/accounts/login/"), LIMIT_S, url)
    yield url
    stack.stop("guarded-portal")
