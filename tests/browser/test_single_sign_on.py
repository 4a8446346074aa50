"""Single sign-on with an OpenID Connect provider, in a real browser."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.stack import Stack
from tests.browser.authenticator_app import activate_totp, fill_in_code
from tests.browser.conftest import listen, new_page
from tests.browser.identity_provider import IdentityProvider
from tests.second_factor import code_for
from tests.stack_data import add_address, add_devices, add_invitation, add_staff, add_tenant, query

DEVICES = "/admin/devices/device/"


@pytest.fixture
def page(browser: Browser, guarded_portal: str, complaints: list[str]) -> Iterator[Page]:
    """A page of a browser that trusts the provider's certificate, with nobody signed in."""
    page = new_page(browser, base_url=guarded_portal, ignore_https_errors=True)
    listen(page, complaints)
    yield page
    page.context.close()


def sign_on(page: Page, subject: str) -> None:
    """Signs in by single sign-on: the button, the provider's page, and back."""
    page.goto(DEVICES)
    page.get_by_role("link", name="Sign in with Acme's directory").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_placeholder("sub").fill(subject)
    page.get_by_role("button", name="Authorize", exact=True).click()


def new_address() -> str:
    return f"{secrets.token_hex(4)}@example.org"


def people_known_as(stack: Stack, subject: str) -> list[tuple[Any, ...]]:
    """User names of the accounts linked to this subject of the provider."""
    return query(
        stack,
        "SELECT username FROM socialaccount_socialaccount s JOIN auth_user u ON u.id = s.user_id "
        "WHERE s.uid = %s",
        subject,
    )


def tenants_of(stack: Stack, subject: str) -> list[tuple[Any, ...]]:
    return query(
        stack,
        "SELECT tenant_id, role FROM devices_membership m "
        "JOIN socialaccount_socialaccount s ON s.user_id = m.user_id WHERE s.uid = %s",
        subject,
    )


def test_a_person_with_the_address_signs_in_and_needs_the_second_factor(
    stack: Stack, provider: IdentityProvider, page: Page
) -> None:
    tenant, other = add_tenant(stack), add_tenant(stack)
    add_devices(stack, tenant, ["own-phone"])
    add_devices(stack, other, ["strangers-phone"])
    user, address = add_staff(stack, tenant), new_address()
    add_address(stack, user, address, verified=True)
    query(stack, "UPDATE auth_user SET password = '!' WHERE username = %s", user)
    provider.add_person(user, email=address.upper(), email_verified=True)

    sign_on(page, user)

    # There is no second factor yet, so it must be set up first.
    expect(page.get_by_text("This installation requires a second factor")).to_be_visible()
    page.goto(DEVICES)
    expect(page).to_have_url(re.compile("/accounts/2fa/$"))
    secret, used = activate_totp(page)
    page.goto(DEVICES)
    expect(page.get_by_role("link", name="own-phone")).to_be_visible()
    expect(page.get_by_text("strangers-phone")).to_have_count(0)
    assert people_known_as(stack, user) == [(user,)]
    assert tenants_of(stack, user) == [(tenant, "manager")]

    page.context.clear_cookies()
    sign_on(page, user)
    page.goto(DEVICES)  # the provider's word is not enough
    fill_in_code(page, code_for(secret, used=used))
    expect(page).to_have_url(re.compile(f"{DEVICES}$"))


@pytest.mark.parametrize(
    ("has_account", "is_verified_here", "claims"),
    [
        (False, False, {"email_verified": True}),
        (True, False, {"email_verified": True}),
        (True, True, {"email_verified": "false"}),
    ],
    ids=["unknown", "not verified here", "not verified there"],
)
def test_nobody_else_is_let_in(
    stack: Stack,
    provider: IdentityProvider,
    page: Page,
    has_account: bool,
    is_verified_here: bool,
    claims: dict[str, Any],
) -> None:
    subject, address = secrets.token_hex(4), new_address()
    if has_account:
        user = add_staff(stack, add_tenant(stack))
        add_address(stack, user, address, verified=is_verified_here)
    provider.add_person(subject, email=address, **claims)

    sign_on(page, subject)

    expect(page.get_by_role("heading", name="By invitation")).to_be_visible()
    page.goto(DEVICES)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert people_known_as(stack, subject) == []


def test_a_newcomer_becomes_a_member_where_an_invitation_waits_and_nowhere_else(
    stack: Stack, provider: IdentityProvider, page: Page
) -> None:
    tenant, other = add_tenant(stack), add_tenant(stack)
    subject, address = secrets.token_hex(4), new_address()
    add_invitation(stack, tenant, address, "viewer")
    add_invitation(stack, other, new_address(), "owner")
    provider.add_person(subject, email=address, email_verified=True, preferred_username=subject)

    sign_on(page, subject)

    expect(page).to_have_url(re.compile("/accounts/2fa/$"))
    assert people_known_as(stack, subject) == [(subject,)]
    assert tenants_of(stack, subject) == [(tenant, "viewer")]


def test_somebody_who_says_no_at_the_provider_is_not_signed_in(page: Page) -> None:
    page.goto("/accounts/login/")
    page.get_by_role("link", name="Sign in with Acme's directory").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Deny").click()

    expect(page.get_by_role("heading", name="Single sign-on did not work")).to_be_visible()
    page.goto(DEVICES)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
