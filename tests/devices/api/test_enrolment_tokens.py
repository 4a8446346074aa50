"""Enrolment tokens over the API."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.fleet.enrolment import TokenRefused, device_enrol, token_issue
from devices.models import Device, EnrolmentToken
from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send


class TestEnrolmentTokens:
    def test_a_token_is_issued_told_once_used_and_revoked(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        body = {"label": "line 4", "max_uses": 2, "expires_in_s": 3600, "site": acme.site.pk}
        answer = send(client, "post", "enrolment-tokens", body)
        assert answer.status_code == 201
        assert answer["Cache-Control"] == "no-store"
        issued = answer.json()
        assert issued["state"] == "in force"
        left = datetime.fromisoformat(issued["expires_at"]) - datetime.now(UTC)
        assert timedelta(minutes=59) < left <= timedelta(hours=1)
        enrol(issued["token"], "new")
        assert Device.objects.get(device_id="new").site == acme.site
        path = f"enrolment-tokens/{issued['prefix']}"
        shown = send(client, "get", path).json()
        assert (shown["uses_left"], "token" in shown) == (1, False)
        assert send(client, "post", f"{path}/revoke").json()["state"] == "revoked"
        with pytest.raises(TokenRefused):
            enrol(issued["token"], "second")

    def test_an_outsider_and_a_viewer_do_nothing_with_tokens(
        self, acme: Fleet, rival: Fleet
    ) -> None:
        token = EnrolmentToken(tenant=acme.tenant, expires_at=datetime.now(UTC) + timedelta(days=1))
        token_issue(token=token)
        path = f"enrolment-tokens/{token.prefix}"
        for client, reads, writes in (
            (member(rival, Role.OWNER), 404, 404),
            (member(acme, Role.VIEWER), 200, 403),
        ):
            assert send(client, "get", path).status_code == reads
            assert_problem(send(client, "post", f"{path}/revoke"), writes)
            assert_problem(send(client, "post", "enrolment-tokens", {"tenant": "acme"}), writes)
        rows = send(member(rival, Role.VIEWER), "get", "enrolment-tokens").json()["results"]
        assert rows == []
        assert EnrolmentToken.objects.get().revoked_at is None

    def test_its_site_is_of_the_same_tenant(self, acme: Fleet, rival: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        for site in (rival.site.pk, 999_999):
            problem = assert_problem(send(client, "post", "enrolment-tokens", {"site": site}), 404)
            assert problem["errors"][0]["field"] == "site"
        assert not EnrolmentToken.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [
            {"max_uses": 0},
            {"max_uses": 10**9},
            {"expires_in_s": 0},
            {"expires_in_s": 10**12},
            {"expires_at": "2020-01-01T00:00:00Z"},
            {"label": "x\x00"},
        ],
    )
    def test_a_bad_field_is_named(self, acme: Fleet, body: dict[str, object]) -> None:
        client = member(acme, Role.MANAGER)
        problem = assert_problem(send(client, "post", "enrolment-tokens", body), 400)
        assert {error["field"] for error in problem["errors"]} == set(body)


def enrol(token: str, device_id: str) -> None:
    device_enrol(
        token=token,
        device_id=device_id,
        name="",
        kind=Device.Kind.SENSOR,
        ts=datetime.now(UTC),
    )
