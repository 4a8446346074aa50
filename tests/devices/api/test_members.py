"""Tenants, members and sites over the API, and the tokens by which people call it."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event, Lock
from typing import Any

import jwt
import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from asgiref.sync import async_to_sync
from django.conf import LazySettings, settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import AsyncClient, Client
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from devices.models import Device, DeviceGroup, Membership, Tenant
from devices.tenancy.access import Role
from scripts.waiting import await_condition
from tests.admin import client_of, person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send
from tests.second_factor import code_for

PASSWORD = "correct horse"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture(autouse=True)
def nobody_tried_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def bearing(token: object) -> Any:
    client = caller(None)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


async def live(token: object) -> Any:
    return await AsyncClient().get("/api/v1/live", headers={"Authorization": f"Bearer {token}"})


class PasswordsHeld:
    """How many passwords are being checked, each until it may go."""

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
    """The status of a sign-in with a wrong password, over a database connection of its own."""
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
                await_condition(lambda: PasswordsHeld.now == 4, 20, "four passwords to be checked")
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
            assert answer.status_code == (400 if "\0" in password else 401)
            assert_problem(answer, answer.status_code)

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
        await_condition(lambda: status() != 200, 5, "the token's end")
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

    def test_a_person_with_a_second_factor_sends_its_code_once(self, acme: Fleet) -> None:
        TOTP.activate(acme.manager, SECRET)
        recovery = RecoveryCodes.activate(acme.manager).get_unused_codes()[0]
        code = code_for(SECRET)
        body = {"username": "acme-manager", "password": PASSWORD}
        for more in ({}, {"code": "000000"}, {"code": "é"}):
            problem = assert_problem(send(caller(None), "post", "auth/token", body | more), 401)
            assert "second factor" in problem["detail"]
        for good in (code, recovery):
            answer = send(caller(None), "post", "auth/token", body | {"code": good})
            assert answer.status_code == 200
            again = send(caller(None), "post", "auth/token", body | {"code": good})
            assert_problem(again, 401)
        # The code without the password is nothing.
        wrong = {**body, "password": "wrong", "code": recovery}
        assert (
            "password"
            in assert_problem(send(caller(None), "post", "auth/token", wrong), 401)["detail"]
        )

    def test_where_a_second_factor_is_required_whoever_lacks_one_gets_no_token(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        body = {"username": "acme-manager", "password": PASSWORD}
        tokens = send(caller(None), "post", "auth/token", body).json()
        settings.REQUIRE_SECOND_FACTOR = True

        refused = send(caller(None), "post", "auth/token", body)
        refresh = {"refresh": tokens["refresh"]}
        not_renewed = send(caller(None), "post", "auth/token/refresh", refresh)

        for answer in (refused, not_renewed):
            assert "Set one up" in assert_problem(answer, 403)["detail"]
        TOTP.activate(acme.manager, SECRET)
        code = code_for(SECRET)
        assert send(caller(None), "post", "auth/token", body | {"code": code}).status_code == 200
        answer = send(caller(None), "post", "auth/token/refresh", refresh)
        assert answer.status_code == 200

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

    def test_too_many_attempts_wait(self, acme: Fleet, settings: LazySettings) -> None:
        settings.API_SIGN_INS_PER_MIN = 2
        body = {"username": "acme-manager", "password": "wrong"}
        for status in (401, 401, 429):
            answer = send(caller(None), "post", "auth/token", body)
            assert_problem(answer, status)
        assert 0 < int(answer["Retry-After"]) <= 60

    def test_too_many_requests_wait(self, acme: Fleet, settings: LazySettings) -> None:
        settings.API_REQUESTS_PER_MIN = 2
        client, other = member(acme, Role.VIEWER), caller(acme.manager)
        for status in (200, 200, 429):
            answer = send(client, "get", "devices")
            assert answer.status_code == status
        assert 0 < int(answer["Retry-After"]) <= 60
        assert send(other, "get", "devices").status_code == 200

    def test_a_session_reads_and_needs_its_csrf_token_to_write(self, acme: Fleet) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(acme.manager)
        assert client.get("/api/v1/devices").status_code == 200
        body = {"device_id": "new"}
        refused = client.post("/api/v1/devices", body, content_type="application/json")
        assert_problem(refused, 403)
        assert Device.objects.count() == 1
        allowed = client_of(acme.manager)
        answer = allowed.post("/api/v1/devices", body, content_type="application/json")
        assert answer.status_code == 201


class TestTenants:
    def test_people_see_their_own_with_their_role(self, acme: Fleet, rival: Fleet) -> None:
        client = caller(person("p", (acme.tenant, Role.VIEWER), (rival.tenant, Role.OWNER)))
        rows = send(client, "get", "tenants").json()["results"]
        assert [(row["slug"], row["role"]) for row in rows] == [
            ("acme", "viewer"),
            ("rival", "owner"),
        ]
        assert len(send(member(acme, Role.OWNER), "get", "tenants").json()["results"]) == 1

    def test_an_outsider_finds_and_changes_nothing(self, acme: Fleet, rival: Fleet) -> None:
        client = member(rival, Role.OWNER)
        assert_problem(send(client, "get", "tenants/acme"), 404)
        assert_problem(send(client, "patch", "tenants/acme", {"name": "mine"}), 404)
        assert Tenant.objects.get(slug="acme").name == "Acme"

    def test_an_owner_changes_what_is_the_owners(self, acme: Fleet) -> None:
        client = member(acme, Role.OWNER)
        body = {"name": "Acme Ltd", "default_interval_s": 10, "registration": "pending"}
        answer = send(client, "patch", "tenants/acme", body)
        assert answer.json() | body == answer.json()
        for field, value in (
            ("slug", "x"),
            ("device_limit", 1),
            ("rate_per_s", 1),
            ("is_active", False),
        ):
            problem = assert_problem(send(client, "patch", "tenants/acme", {field: value}), 403)
            assert field in problem["detail"]
        for role in (Role.VIEWER, Role.MANAGER):
            assert_problem(send(member(acme, role), "patch", "tenants/acme", {"name": "x"}), 403)

    def test_operators_alone_add_tenants(self, acme: Fleet, operator: User) -> None:
        body = {"name": "New", "slug": "new"}
        assert_problem(send(member(acme, Role.OWNER), "post", "tenants", body), 403)
        client = caller(operator)
        answer = send(client, "post", "tenants", body)
        assert answer.status_code == 201
        assert answer.json()["role"] == "operator"
        assert "already" in assert_problem(send(client, "post", "tenants", body), 409)["detail"]
        assert send(client, "patch", "tenants/new", {"is_active": False}).status_code == 200
        for slug in ("", "a b", "ü", "x" * 64, "a\x00", " a", "a\n"):
            assert_problem(send(client, "post", "tenants", body | {"slug": slug}), 400)


class TestMembers:
    def test_owners_add_change_and_remove_people(self, acme: Fleet, rival: Fleet) -> None:
        owner = person("owner", (acme.tenant, Role.OWNER), (rival.tenant, Role.OWNER))
        client = caller(owner)
        body = {"tenant": "acme", "username": "rival-manager", "role": "viewer"}
        answer = send(client, "post", "members", body)
        assert answer.status_code == 201
        assert_problem(send(client, "post", "members", body), 409)
        path = answer["Location"].removeprefix("/api/v1/")
        assert send(client, "patch", path, {"role": "owner"}).json()["role"] == "owner"
        assert send(client, "delete", path).status_code == 204
        assert_problem(send(client, "get", path), 404)

    def test_nobody_else_does(self, acme: Fleet, rival: Fleet) -> None:
        mine = Membership.objects.get(user=acme.manager)
        for client, status in (
            (member(acme, Role.VIEWER), 403),
            (caller(acme.manager), 403),
            (member(rival, Role.OWNER), 404),
        ):
            path = f"members/{mine.pk}"
            assert_problem(send(client, "patch", path, {"role": "owner"}), status)
            assert_problem(send(client, "delete", path), status)
            body = {"tenant": "acme", "username": "rival-manager", "role": "owner"}
            assert_problem(send(client, "post", "members", body), status)
        assert Membership.objects.get(pk=mine.pk).role == Role.MANAGER

    def test_a_tenant_keeps_an_owner(self, acme: Fleet) -> None:
        client = member(acme, Role.OWNER)
        path = f"members/{Membership.objects.get(role=Role.OWNER).pk}"
        for method, body in (("patch", {"role": "viewer"}), ("delete", None)):
            assert "owner" in assert_problem(send(client, method, path, body), 409)["detail"]
        member_two = person("second", (acme.tenant, Role.OWNER))
        assert send(client, "patch", path, {"role": "viewer"}).status_code == 200
        assert_problem(send(client, "patch", path, {"role": "owner"}), 403)
        assert send(caller(member_two), "get", path).json()["role"] == "viewer"

    def test_people_without_an_account_are_invited_in_the_admin(self, acme: Fleet) -> None:
        body = {"username": "nobody", "role": "viewer"}
        answer = send(member(acme, Role.OWNER), "post", "members", body)
        assert "in the admin" in assert_problem(answer, 404)["errors"][0]["reason"]
        headers = {"Accept": "application/vnd.oai.openapi+json"}
        described = Client().get("/api/schema/", headers=headers).json()["components"]["schemas"]
        assert (
            "in the admin"
            in described["MemberCreateRequest"]["properties"]["username"]["description"]
        )

    def test_a_field_that_cannot_be_set_is_answered_with_those_that_can(self, acme: Fleet) -> None:
        path = f"members/{Membership.objects.get(user=acme.manager).pk}"
        answer = send(member(acme, Role.OWNER), "patch", path, {"role": "viewer", "user": "x"})
        (error,) = assert_problem(answer, 400)["errors"]
        assert error["field"] == "user"
        assert error["reason"].endswith("; these can: role.")

    def test_people_of_other_tenants_have_no_names(self, acme: Fleet, rival: Fleet) -> None:
        client = member(acme, Role.OWNER)
        unknown, foreign = (
            assert_problem(
                send(client, "post", "members", {"username": name, "role": "viewer"}), 404
            )
            for name in ("nobody", "rival-manager")
        )
        assert unknown == foreign
        names = [row["username"] for row in send(client, "get", "members").json()["results"]]
        assert sorted(names) == ["acme-manager", "acme-owner-1"]


@pytest.mark.parametrize("kind", ["sites", "groups"])
class TestPlaces:
    @pytest.fixture
    def own(self, kind: str, acme: Fleet, rival: Fleet) -> int:
        """The id of acme's only one, `acme site` by name."""
        if kind == "sites":
            return acme.site.pk
        DeviceGroup.objects.create(tenant=rival.tenant, name="rival group")
        return DeviceGroup.objects.create(tenant=acme.tenant, name="acme site").pk

    def test_a_manager_adds_changes_and_removes_them(
        self, acme: Fleet, kind: str, own: int
    ) -> None:
        client = member(acme, Role.MANAGER)
        answer = send(client, "post", kind, {"name": "Roof"})
        assert answer.status_code == 201
        path = answer["Location"].removeprefix("/api/v1/")
        assert_problem(send(client, "post", kind, {"name": "Roof"}), 409)
        assert send(client, "patch", path, {"name": "Cellar"}).json()["name"] == "Cellar"
        assert_problem(send(client, "patch", path, {"name": "acme site"}), 409)
        field = kind.removesuffix("s")
        body = {field: answer.json()["id"]}
        assert send(client, "patch", "devices/acme-phone", body).json()[field] == body[field]
        found = send(client, "get", f"devices?{field}={body[field]}").json()["results"]
        assert [row[field] for row in found] == [body[field]]
        assert send(client, "delete", path).status_code == 204
        assert send(client, "get", "devices/acme-phone").json()[field] is None

    def test_others_do_not(self, acme: Fleet, rival: Fleet, kind: str, own: int) -> None:
        path = f"{kind}/{own}"
        for client, status in ((member(acme, Role.VIEWER), 403), (member(rival, Role.OWNER), 404)):
            assert_problem(send(client, "patch", path, {"name": "mine"}), status)
            assert_problem(send(client, "delete", path), status)
            body = {"name": "new", "tenant": "acme"}
            assert_problem(send(client, "post", kind, body), status)
        assert_problem(send(member(rival, Role.VIEWER), "get", path), 404)
        rows = send(member(acme, Role.MANAGER), "get", kind).json()["results"]
        assert [(row["id"], row["name"]) for row in rows] == [(own, "acme site")]

    def test_one_of_another_tenant_is_as_one_that_does_not_exist(
        self, acme: Fleet, rival: Fleet, kind: str, own: int
    ) -> None:
        client = member(rival, Role.MANAGER)
        field = kind.removesuffix("s")
        for pk in (own, 999_999):
            for method, path, body in (
                ("post", "devices", {"device_id": "x", field: pk}),
                ("patch", "devices/rival-phone", {field: pk}),
                ("post", "enrolment-tokens", {field: pk}),
            ):
                problem = assert_problem(send(client, method, path, body), 404)
                assert [one["field"] for one in problem["errors"]] == [field]


class TestSites:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": " "}, "name"),
            ({"name": "x", "latitude_deg": 91}, "latitude_deg"),
            ({"name": "x", "longitude_deg": 1e400}, "longitude_deg"),
            ({"name": "x", "longitude_deg": "east"}, "longitude_deg"),
            ({"name": "x", "longitude_deg": "NaN"}, "longitude_deg"),
            ({"name": "x", "longitude_deg": "-Infinity"}, "longitude_deg"),
        ],
    )
    def test_a_bad_field_is_named(self, acme: Fleet, body: dict[str, Any], field: str) -> None:
        client = member(acme, Role.MANAGER)
        data = json.dumps(body).replace("Infinity", "1e400")
        answer = client.generic("POST", "/api/v1/sites", data, content_type="application/json")
        problem = assert_problem(answer, 400)
        assert problem["errors"][0]["field"] == field

    @pytest.mark.parametrize("pk", ["0", "-1", "x", "99999999999999999999", "1%00", "1;"])
    def test_an_id_that_is_none_is_not_found(self, acme: Fleet, pk: str) -> None:
        assert_problem(send(member(acme, Role.VIEWER), "get", f"sites/{pk}"), 404)
