"""A second-factor code works once and cannot be guessed."""

import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client

from tests.conftest import Fleet
from tests.devices.people.signing_in import (
    PASSWORD,
    SECRET,
    USED_CODE,
    ask_for_token,
    forget_as_allauth_does,
    is_in,
    sign_in,
)
from tests.second_factor import code_for


def test_a_code_works_once(guarded: User) -> None:
    first, second = Client(), Client()
    for client in (first, second):
        sign_in(client, "acme-manager")
    code = code_for(SECRET)

    first.post("/accounts/2fa/authenticate/", {"code": code})
    refused = second.post("/accounts/2fa/authenticate/", {"code": code})

    assert (is_in(first), is_in(second)) == (True, False)
    assert USED_CODE in refused.content.decode()


def test_what_is_wrong_with_a_code_is_told_to_programs(guarded: User) -> None:
    def told(**fields: str) -> str:
        refused = ask_for_token(**fields)
        assert refused.status_code == 401
        return str(refused.json()["detail"])

    code = code_for(SECRET)
    assert told() == "Send the code of your second factor as `code`."
    assert "Wrong code for your second factor" in told(code="000000")

    assert ask_for_token(code=code).status_code == 200

    assert told(code=code) == told(code=f"{code[:3]} {code[3:]}") == USED_CODE


def test_a_code_that_was_used_does_not_forget_the_wrong_ones(
    guarded: User, settings: LazySettings
) -> None:
    code = code_for(SECRET)
    assert ask_for_token(code=code).status_code == 200
    for _ in range(settings.SIGN_IN_ATTEMPTS - 1):
        assert ask_for_token(code="000000").status_code == 401
    forget_as_allauth_does()

    assert ask_for_token(code=code).status_code == 401

    assert ask_for_token(code=code).status_code == 429


def test_a_code_works_once_for_as_long_as_it_is_valid(guarded: User) -> None:
    def is_taken() -> bool:
        client = Client()
        sign_in(client, "acme-manager")
        client.post("/accounts/2fa/authenticate/", {"code": f"{code[:3]} {code[3:]}"})
        return is_in(client)

    code = code_for(SECRET)
    assert is_taken()
    forget_as_allauth_does()

    assert not is_taken()
    assert ask_for_token(code=code).status_code == 401


def test_the_code_that_sets_up_an_app_is_used_thereby(acme: Fleet) -> None:
    client = Client()
    sign_in(client, "acme-manager")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.get("/accounts/2fa/totp/activate/")
    code = code_for(client.session[SECRET_SESSION_KEY])
    client.post("/accounts/2fa/totp/activate/", {"code": code})
    assert Authenticator.objects.filter(user=acme.manager, type="totp").exists()

    assert ask_for_token(code=code).status_code == 401


def test_codes_cannot_be_tried_without_end_from_wherever_somebody_tries(
    guarded: User, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def try_code(code: str, *, address: str) -> Any:
        client = Client(REMOTE_ADDR=address)
        sign_in(client, "acme-manager")
        answer = client.post("/accounts/2fa/authenticate/", {"code": code})
        assert not is_in(client)
        return answer

    began_at = time.time()
    monkeypatch.setattr(time, "time", lambda: began_at)
    for index in range(settings.SIGN_IN_ATTEMPTS):
        assert b"Incorrect code" in try_code("000000", address=f"192.0.2.{index}").content

    words = b"Too many wrong codes; try again in 15 minutes."
    assert words in try_code(code_for(SECRET), address="192.0.2.99").content
    refused = ask_for_token(code=code_for(SECRET))
    assert refused.status_code == 429
    assert words in refused.content
    assert 880 < int(refused["Retry-After"]) <= 900
    monkeypatch.setattr(time, "time", lambda: began_at + 850)
    refused = ask_for_token(code=code_for(SECRET))
    assert b"try again in 1 minute." in refused.content
    assert 0 < int(refused["Retry-After"]) <= 50
