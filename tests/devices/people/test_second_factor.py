"""No way to sign in bypasses a second factor that a person has or must have."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import AnonymousUser, User
from django.core import mail
from django.core.cache import cache
from django.test import Client

from devices.people.second_factor import SecondFactorGate, lacks_second_factor
from tests.admin import client_of, page, person
from tests.conftest import Fleet
from tests.devices.people.signing_in import SECRET, is_in, sign_in
from tests.second_factor import code_for


def test_a_password_alone_does_not_open_a_guarded_account(guarded: User) -> None:
    client = Client()
    assert sign_in(client, "acme-manager", next="/admin/")["Location"].startswith(
        "/accounts/2fa/authenticate/"
    )
    assert not is_in(client)
    assert client.get(page("devices_device_changelist")).status_code == 302

    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert not is_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": code_for(SECRET)}).status_code == 302

    assert is_in(client)


def test_a_recovery_code_opens_once(guarded: User) -> None:
    kept = Authenticator.objects.get(user=guarded, type=Authenticator.Type.RECOVERY_CODES)
    code = kept.wrap().get_unused_codes()[0]
    for opens in (True, False):
        client = Client()
        sign_in(client, "acme-manager")
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert is_in(client) is opens


def test_secrets_of_second_factors_are_encrypted(guarded: User, settings: LazySettings) -> None:
    kept = Authenticator.objects.get(user=guarded, type=Authenticator.Type.TOTP)
    assert SECRET not in str(kept.data)
    assert kept.wrap().validate_code(code_for(SECRET))

    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [old]
    cache.clear()
    assert kept.wrap().validate_code(code_for(SECRET))
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(ValueError, match="a different SECRET_KEY"):
        kept.wrap().validate_code(code_for(SECRET))


def test_resetting_a_password_does_not_pass_by_the_second_factor(guarded: User) -> None:
    User.objects.filter(pk=guarded.pk).update(email="boss@example.org")
    client = Client()
    client.post("/accounts/password/reset/", {"email": "boss@example.org"})
    path = next(
        line.removeprefix("http://testserver")
        for line in str(mail.outbox[0].body).splitlines()
        if line.startswith("http")
    )
    form = client.get(path, follow=True)
    new = "an otter's umbrella"
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert not is_in(client)

    assert "/2fa/authenticate/" in sign_in(client, "acme-manager", new)["Location"]
    assert not is_in(client)


def test_staff_is_led_to_a_second_factor_where_one_is_required(
    acme: Fleet, settings: LazySettings
) -> None:
    client = client_of(acme.manager)
    assert client.get(page("index")).status_code == 200
    settings.REQUIRE_SECOND_FACTOR = True

    assert client.get(page("index"))["Location"] == "/accounts/2fa/"
    assert client.get("/accounts/2fa/").status_code == 200
    refused = client.get("/api/v1/devices")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert client.post("/api/v1/heartbeats").status_code == 401
    assert Client().get("/health").status_code in (200, 503)

    RecoveryCodes.activate(acme.manager)
    assert client.get(page("index")).status_code == 302
    TOTP.activate(acme.manager, SECRET)
    assert client.get(page("index")).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_socket_of_somebody_who_lacks_a_second_factor_is_nobodys(
    settings: LazySettings,
) -> None:
    user = person("socket")
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])

    for settings.REQUIRE_SECOND_FACTOR in (False, True):
        async_to_sync(SecondFactorGate(inner))({"user": user}, None, None)

    assert seen[0] == user
    assert isinstance(seen[1], AnonymousUser)


def test_only_staff_with_a_session_is_concerned(db: None, settings: LazySettings) -> None:
    settings.REQUIRE_SECOND_FACTOR = True

    assert not lacks_second_factor(AnonymousUser())
    assert not lacks_second_factor(User.objects.create_user("passer-by"))
    assert lacks_second_factor(person("staff"))
