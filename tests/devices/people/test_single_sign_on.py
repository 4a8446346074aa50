"""Who may sign in by single sign-on."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, RequestFactory
from django.utils import timezone

from devices.models import Invitation, Membership
from devices.people.invitations import invitation_issue
from tests.admin import inviter
from tests.conftest import Fleet


def test_a_provider_that_is_away_is_told_on_the_page_and_in_the_log(
    db: None, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    app = {"provider_id": "oidc", "name": "Idp", "client_id": "rollcall", "secret": "s"}
    app_settings = {"server_url": "https://127.0.0.1:1"}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": [{**app, "settings": app_settings}]}
    }

    answer = Client().post("/accounts/oidc/oidc/login/")

    assert b"Single sign-on did not work" in answer.content
    assert "single sign-on failed: " in caplog.text
    assert "127.0.0.1" in caplog.text


@pytest.fixture
def adapter(settings: LazySettings) -> Any:
    """The adapter, with a single sign-on provider in the settings."""
    app = {"provider_id": "oidc", "name": "Idp", "client_id": "rollcall", "secret": "s"}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    return get_adapter()


def sso(adapter: Any, email: str, *, verified: bool) -> SocialLogin:
    """What comes back from the provider."""
    return SocialLogin(
        user=User(username="nadia", email=email),
        account=SocialAccount(provider="oidc", uid="1"),
        email_addresses=[EmailAddress(email=email, verified=verified, primary=True)],
        provider=adapter.get_provider(RequestFactory().get("/"), "oidc"),
    )


@pytest.mark.parametrize("verified", [True, False])
def test_single_sign_on_lets_in_whom_an_invitation_waits_for(
    acme: Fleet, adapter: Any, verified: bool
) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    login = sso(adapter, "nadia@example.org", verified=verified)
    assert not adapter.is_open_for_signup(request, login)
    invitation = Invitation(tenant=acme.tenant, email="nadia@example.org", role="viewer")
    invitation.invited_by = inviter()
    invitation_issue(invitation=invitation, ts=timezone.now())

    assert adapter.is_open_for_signup(request, login) is verified
    if verified:
        user = adapter.save_user(request, login)
        assert user.is_staff and not user.has_usable_password()
        assert Membership.objects.get(user=user).role == "viewer"


@pytest.mark.parametrize(
    ("said", "is_verified"),
    [(True, True), ("true", True), (False, False), ("false", False), (None, False), (1, False)],
)
def test_an_address_counts_if_the_provider_says_that_it_verified_it(
    db: None, adapter: Any, said: Any, is_verified: bool
) -> None:
    request = RequestFactory().get("/")
    claims = {"sub": "1", "email": "nadia@example.org", "email_verified": said}

    provider = adapter.get_provider(request, "oidc")
    login = provider.sociallogin_from_response(request, {"userinfo": claims})

    assert [one.verified for one in login.email_addresses] == [is_verified]


def test_single_sign_on_knows_an_account_by_an_address_that_both_verified(
    acme: Fleet, adapter: Any
) -> None:
    address = "boss@example.org"
    kept = EmailAddress.objects.create(user=acme.manager, email=address, primary=True)
    assert adapter.authenticate_by_email(sso(adapter, address, verified=True)) is None

    EmailAddress.objects.filter(pk=kept.pk).update(verified=True)

    found = adapter.authenticate_by_email(sso(adapter, address, verified=True))
    assert found == (acme.manager, address)
    assert adapter.authenticate_by_email(sso(adapter, address, verified=False)) is None
