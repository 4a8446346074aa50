"""Access tokens for the API: issued for a password, and valid for a while."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event, Lock
from typing import Any

import jwt
import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings, settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from scripts.waiting import await_condition
from tests.conftest import Fleet
from tests.devices.api.test_members import PASSWORD
from tests.devices.api_callers import assert_problem, caller, send
from tests.waits import LIMIT_S

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def bearing(token: object) -> Any:
    client = caller(None)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


async def live(token: object) -> Any:
    return await AsyncClient().get("/api/v1/live", headers={"Authorization": f"Bearer {token}"})


class PasswordsHeld:
    """Counts the passwords being checked; each check lasts until it is released."""

    lock = Lock()
    may_go = Event()
    now = most = 0

    @classmethod
    def begin(cls) -> None:
        cls.may_go.clear()
        cls.now = cls.most = 0

    @classmethod
    def hold(cls) -> None:
        with cls.lock:
            cls.now += 1
            cls.most = max(cls.most, cls.now)
        assert cls.may_go.wait(20)
        with cls.lock:
            cls.now -= 1


class HeldHasher(MD5PasswordHasher):
    def encode(self, password: str, salt: str) -> str:
        PasswordsHeld.hold()
        return super().encode(password, salt)


def sign_in_apart(name: str) -> int:
    """The status of a sign-in with a wrong password, on a separate database connection."""
    try:
        body = {"username": name, "password": "wrong"}
        return int(send(caller(None), "post", "auth/token", body).status_code)
    finally:
        connection.close()


class TestTokens:
    def test_a_person_signs_in_and_refreshes(self, acme: Fleet) -> None:
        body = {"username": "acme-manager", "password": PASSWORD}
        answer = send(caller(None), "post", "auth/token", body)
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        tokens = answer.json()
        assert send(bearing(tokens["access"]), "get", "devices").status_code == 200
        again = send(caller(None), "post", "auth/token/refresh", {"refresh": tokens["refresh"]})
        assert send(bearing(again.json()["access"]), "get", "devices").status_code == 200

    @pytest.mark.django_db(transaction=True)
    def test_four_passwords_are_checked_at_a_time_and_others_are_answered_meanwhile(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        settings.PASSWORD_HASHERS = [f"{__name__}.HeldHasher"]
        settings.API_SIGN_INS_PER_MIN = 1000
        PasswordsHeld.begin()
        with ThreadPoolExecutor(12) as pool:
            try:
                asked = [pool.submit(sign_in_apart, f"nobody-{n}") for n in range(12)]
                await_condition(
                    lambda: PasswordsHeld.now == 4, LIMIT_S, "four passwords to be checked"
                )
                assert send(caller(acme.manager), "get", "devices").status_code == 200
            finally:
                PasswordsHeld.may_go.set()
            assert {one.result(20) for one in asked} == {401}
        assert (PasswordsHeld.most, PasswordsHeld.now) == (4, 0)

    @pytest.mark.parametrize("password", ["wrong", "correct horse ", "x\x00", "é" * 4000])
    def test_a_wrong_password_gets_nothing(self, acme: Fleet, password: str) -> None:
        for name in ("acme-manager", "nobody"):
            body = {"username": name, "password": password}
            answer = send(caller(None), "post", "auth/token", body)
            problem = assert_problem(answer, 400 if "\0" in password else 401)
            if "\0" not in password:
                assert problem["detail"] == "User name or password is wrong."

    def test_nobody_who_is_not_active_signs_in_or_goes_on(self, acme: Fleet) -> None:
        refresh = RefreshToken.for_user(acme.manager)
        User.objects.filter(pk=acme.manager.pk).update(is_active=False)
        body = {"username": "acme-manager", "password": PASSWORD}
        assert_problem(send(caller(None), "post", "auth/token", body), 401)
        assert_problem(send(bearing(refresh.access_token), "get", "devices"), 401)
        body = {"refresh": str(refresh)}
        assert_problem(send(caller(None), "post", "auth/token/refresh", body), 401)

    def test_a_new_password_ends_the_tokens_of_the_old_one(self, acme: Fleet) -> None:
        refresh = RefreshToken.for_user(acme.manager)
        acme.manager.set_password("another horse")
        acme.manager.save()
        assert_problem(send(bearing(refresh.access_token), "get", "devices"), 401)
        body = {"refresh": str(refresh)}
        assert_problem(send(caller(None), "post", "auth/token/refresh", body), 401)

    def test_a_person_who_is_gone_goes_nowhere(self, acme: Fleet) -> None:
        refresh = RefreshToken.for_user(acme.manager)
        acme.manager.delete()
        assert_problem(send(bearing(refresh.access_token), "get", "devices"), 401)
        body = {"refresh": str(refresh)}
        assert_problem(send(caller(None), "post", "auth/token/refresh", body), 401)

    def test_a_token_that_was_good_expires(self, acme: Fleet) -> None:
        token = AccessToken.for_user(acme.manager)
        token.set_exp(lifetime=timedelta(seconds=2))
        client = bearing(token)

        def status() -> int:
            return int(send(client, "get", "devices").status_code)

        assert status() == 200
        await_condition(lambda: status() != 200, LIMIT_S, "the token's end")
        told = assert_problem(send(client, "get", "devices"), 401)["detail"]
        assert told.startswith("This token has expired: get another at ")
        token.set_exp(lifetime=-timedelta(seconds=2))
        assert assert_problem(send(bearing(token), "get", "devices"), 401)["detail"] == told

    def test_tokens_that_were_not_given_here_open_nothing(self, acme: Fleet) -> None:
        good = AccessToken.for_user(acme.manager)
        payload = good.payload | {"iss": "rollcall"}
        key = str(settings.SIMPLE_JWT["SIGNING_KEY"])
        expired = AccessToken.for_user(acme.manager)
        expired.set_exp(lifetime=-timedelta(seconds=1))
        header, body, signature = str(good).split(".")
        foreign = base64.urlsafe_b64encode(json.dumps(payload | {"user_id": "1"}).encode())
        none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        for token in (
            expired,
            f"{header}.{body}.{signature[:-4]}AAAA",
            f"{header}.{foreign.decode().rstrip('=')}.{signature}",
            f"{none}.{body}.",
            f"{none}.{body}.{signature}",
            jwt.encode(payload, "another key, long enough to sign with", algorithm="HS256"),
            jwt.encode(payload, key, algorithm="HS512"),
            jwt.encode(payload, settings.SECRET_KEY, algorithm="HS256"),
            jwt.encode(payload | {"iss": "elsewhere"}, key, algorithm="HS256"),
            jwt.encode({k: v for k, v in payload.items() if k != "user_id"}, key, "HS256"),
            RefreshToken.for_user(acme.manager),
            "",
            "a.b.c",
            "a b",
            "\xff\xfe",
            "." * 5000,
            acme.key,
        ):
            answer = send(bearing(token), "get", "devices")
            problem = assert_problem(answer, 401)
            assert "{" not in problem["detail"]
        refresh = {"refresh": str(good)}
        assert_problem(send(caller(None), "post", "auth/token/refresh", refresh), 401)

    @pytest.mark.parametrize(
        "odd",
        [
            {"user_id": "１"},
            {"user_id": 10**30},
            {"user_id": 2**31},
            {"user_id": True},
            {"user_id": ["1"]},
            {"exp": 10**400},
            {"exp": "9999999999"},
            {"exp": None},
            {"exp": [1]},
            {"exp": float("inf")},
            {"nbf": float("inf")},
            {"iat": 10**400},
            {"iat": {}},
        ],
        ids=str,
    )
    def test_tokens_with_odd_claims_open_nothing(self, acme: Fleet, odd: dict[str, Any]) -> None:
        def signed(token: Token, odd: dict[str, Any]) -> str:
            key = str(settings.SIMPLE_JWT["SIGNING_KEY"])
            return jwt.encode(token.payload | {"iss": "rollcall"} | odd, key, algorithm="HS256")

        good = signed(AccessToken.for_user(acme.manager), {})
        assert send(bearing(good), "get", "devices").status_code == 200
        access = signed(AccessToken.for_user(acme.manager), odd)
        assert_problem(send(bearing(access), "get", "devices"), 401)
        assert_problem(async_to_sync(live)(access), 401)
        refresh = {"refresh": signed(RefreshToken.for_user(acme.manager), odd)}
        assert_problem(send(caller(None), "post", "auth/token/refresh", refresh), 401)

    def test_the_lock_out_holds_for_tokens_too(self, acme: Fleet, settings: LazySettings) -> None:
        wrong = {"username": "acme-manager", "password": "wrong"}
        right = {"username": "acme-manager", "password": PASSWORD}
        for _ in range(settings.SIGN_IN_ATTEMPTS - 1):
            assert_problem(send(caller(None), "post", "auth/token", wrong), 401)
        assert send(caller(None), "post", "auth/token", right).status_code == 200
        for _ in range(settings.SIGN_IN_ATTEMPTS):
            answer = send(caller(None), "post", "auth/token", wrong)
        assert answer.status_code == 429
        answer = send(caller(None), "post", "auth/token", right)
        assert_problem(answer, 429)
        assert int(answer["Retry-After"]) > 0
