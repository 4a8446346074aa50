"""Devices over the API: found, added, changed, paused and removed by whom it is allowed to."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, Membership, Site, Tenant
from devices.tenancy.access import Role
from telemetry.api.periods import FORMATS
from telemetry.models import DeviceStatus, PresenceState
from tests.admin import RECORD_QUERIES, SCOPE_QUERIES, person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, device_of, member, send


@pytest.fixture
def both(acme: Fleet, rival: Fleet) -> User:
    """A manager of both tenants, each of which has a device `twin`."""
    for fleet in (acme, rival):
        device_of(fleet.tenant, "twin")
    return person("both", (acme.tenant, Role.MANAGER), (rival.tenant, Role.MANAGER))


def test_a_member_sees_the_devices_of_the_own_tenant(acme: Fleet, rival: Fleet) -> None:
    answer = send(member(acme, Role.VIEWER), "get", "devices")
    assert answer.status_code == 200
    assert answer.json() == {
        "next": None,
        "results": [
            {
                "id": acme.device.pk,
                "tenant": "acme",
                "device_id": "acme-phone",
                "name": "",
                "kind": "phone",
                "site": None,
                "group": None,
                "expected_interval_s": None,
                "grace_s": None,
                "rate_per_s": None,
                "burst": None,
                "is_pending": False,
                "state": "new",
                "state_since": answer.json()["results"][0]["state_since"],
                "created_at": answer.json()["results"][0]["created_at"],
            }
        ],
    }


def test_an_operator_sees_the_devices_of_all(acme: Fleet, rival: Fleet, operator: User) -> None:
    rows = send(caller(operator), "get", "devices").json()["results"]
    assert [row["device_id"] for row in rows] == ["acme-phone", "rival-phone"]


def test_nobody_sees_anything_without_a_token(acme: Fleet) -> None:
    for method, path in (("get", "devices"), ("patch", "devices/acme-phone"), ("post", "devices")):
        answer = send(caller(None), method, path)
        assert_problem(answer, 401)
        assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=offline", ["b-late"]),
        ("state=offline&state=new", ["acme-phone", "b-late", "c-probe"]),
        ("kind=probe", ["c-probe"]),
        ("pending=true", ["c-probe"]),
        ("pending=false", ["acme-phone", "b-late"]),
        ("q=LATE", ["b-late"]),
        ("q=kitchen", ["b-late"]),
        ("q=kitchen phone", []),
        ("tenant=acme&kind=phone", ["acme-phone"]),
        ("tenant=rival", []),
        ("site=999", []),
        ("ordering=-device_id", ["c-probe", "b-late", "acme-phone"]),
        ("ordering=-created_at&limit=1", ["c-probe"]),
        ("ordering=name", ["c-probe", "acme-phone", "b-late"]),
    ],
)
def test_devices_are_filtered_searched_and_ordered(
    acme: Fleet, rival: Fleet, query: str, found: list[str]
) -> None:
    kitchen = Site.objects.create(tenant=acme.tenant, name="Kitchen")
    Device.objects.filter(pk=acme.device.pk).update(name="b")
    Device.objects.create(tenant=acme.tenant, device_id="b-late", name="c", site=kitchen)
    Device.objects.create(
        tenant=acme.tenant, device_id="c-probe", name="a", kind="probe", is_pending=True
    )
    DeviceStatus.objects.filter(device__device_id="b-late").update(state="offline")

    answer = send(member(acme, Role.VIEWER), "get", f"devices?{query}")
    assert [row["device_id"] for row in answer.json()["results"]] == found


def test_a_site_of_another_tenant_filters_like_one_that_does_not_exist(
    acme: Fleet, rival: Fleet
) -> None:
    answer = send(member(acme, Role.VIEWER), "get", f"devices?site={rival.site.pk}")
    assert answer.json() == {"results": [], "next": None}


@pytest.mark.parametrize("ordering", ["device_id", "-device_id", "name", "-name", "created_at"])
def test_pages_show_every_device_once_in_order(
    acme: Fleet, rival: Fleet, operator: User, ordering: str
) -> None:
    for number in range(7):
        Device.objects.create(tenant=acme.tenant, device_id=f"d{number}", name="same")
    for client in (member(acme, Role.VIEWER), caller(operator)):
        whole = send(client, "get", f"devices?ordering={ordering}").json()["results"]
        path: str | None = f"/api/v1/devices?ordering={ordering}&limit=3"
        walked = []
        while path:
            page = client.get(path).json()
            assert len(page["results"]) <= 3
            walked += page["results"]
            path = page["next"]
        assert walked == whole
        assert len(walked) >= 8


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=1e3",
        "limit=1_0",
        "site=1_0",
        "limit=99999999999999999999",
        "limit=%00",
        "limit=%D9%A3",
        "ordering=secret_sha256",
        "ordering=tenant__name",
        "ordering=device_id;drop table",
        "ordering=%00",
        "ordering=",
        "state=on",
        "state=%00",
        "state=' or 1=1 --",
        "kind=' or 1=1 --",
        "kind=phone%00",
        "state=",
        "kind=",
        "site=",
        "pending=",
        "site=abc",
        "site=0",
        "site=99999999999999999999",
        "site=1 or 1=1",
        "site=%00",
        "pending=perhaps",
        "pending=%00",
        "tenant=%00",
        "tenant=acme%00",
        "q=%00",
        f"q={'x' * 101}",
    ],
)
def test_a_bad_query_is_a_problem_that_says_what_is_wrong(acme: Fleet, query: str) -> None:
    problem = assert_problem(send(member(acme, Role.VIEWER), "get", f"devices?{query}"), 400)
    assert problem["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "choices"),
    [
        ("get", "devices?state=open", None, PresenceState.values),
        ("get", "devices?kind=", None, Device.Kind.values),
        ("get", "devices?pending=1", None, ["true", "false"]),
        ("get", "devices/acme-phone/readings?format=xml", None, FORMATS),
        ("post", "devices", {"device_id": "d", "kind": "boat"}, Device.Kind.values),
        ("patch", "devices/acme-phone", {"kind": ""}, Device.Kind.values),
        ("post", "members", {"username": "acme-manager-1", "role": "king"}, Membership.Role.values),
    ],
)
def test_the_choices_are_told_to_who_chose_none(
    method: str, path: str, body: Any, choices: Iterable[str], acme: Fleet
) -> None:
    problem = assert_problem(send(member(acme, Role.OWNER), method, path, body), 400)
    words = f"This should be one of {', '.join(choices)}."
    assert [one["reason"] for one in problem["errors"]] == [words]


@pytest.mark.parametrize(
    "query",
    [
        "q='; drop table devices_device; --",
        "q=%25%27%20or%201=1",
        "q=\\",
        'q="unclosed',
        "q=a%0d%0aX-Injected:%20yes",
        "tenant='; drop table devices_device; --",
        "tenant=a%0d%0aX-Injected:%20yes",
    ],
)
def test_text_that_means_something_to_sql_or_http_finds_nothing(acme: Fleet, query: str) -> None:
    answer = send(member(acme, Role.VIEWER), "get", f"devices?{query}")
    assert answer.status_code == 200
    assert answer.json()["results"] == []
    assert "X-Injected" not in answer.headers
    assert Device.objects.count() == 1


def test_a_cursor_is_good_for_its_own_order_only(acme: Fleet) -> None:
    device_of(acme.tenant, "second")
    client = member(acme, Role.VIEWER)
    following = send(client, "get", "devices?limit=1").json()["next"]
    assert client.get(following).status_code == 200
    for path in (
        f"{following}&ordering=name",
        following.replace("cursor=", "cursor=x"),
        following.replace("devices", "sites"),
        *(f"/api/v1/devices?cursor={text}" for text in ("abc", "%00", "eyJhIjoxfQ:1:1", "é")),
    ):
        problem = assert_problem(client.get(path), 404)
        assert problem["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("how_many", [1, 30])
def test_a_list_takes_as_many_queries_however_long_it_is(
    acme: Fleet, operator: User, how_many: int
) -> None:
    for number in range(how_many):
        site = Site.objects.create(tenant=acme.tenant, name=f"site {number}")
        device_of(acme.tenant, f"d{number}", site)
    # The person, the roles, the list.
    for client, more in (
        (member(acme, Role.VIEWER), 3),
        (caller(operator), 2 + RECORD_QUERIES),
    ):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert send(client, "get", "devices").status_code == 200
        assert len(asked) <= SCOPE_QUERIES + more, [one["sql"] for one in asked]


class TestOneDevice:
    def test_it_is_found_by_its_own_name(self, acme: Fleet, operator: User) -> None:
        for client in (member(acme, Role.VIEWER), caller(operator)):
            answer = send(client, "get", "devices/acme-phone")
            assert answer.status_code == 200
            assert answer.json()["device_id"] == "acme-phone"

    def test_an_outsider_finds_and_changes_nothing(self, acme: Fleet, rival: Fleet) -> None:
        client = member(rival, Role.OWNER)
        before = Device.objects.values().get(pk=acme.device.pk)
        for method, path, body in (
            ("get", "devices/acme-phone", None),
            ("get", "devices/acme-phone?tenant=acme", None),
            ("patch", "devices/acme-phone", {"name": "mine"}),
            ("delete", "devices/acme-phone", None),
            ("post", "devices/acme-phone/approve", {}),
            ("post", "devices/acme-phone/pause", {"why": "mine"}),
            ("post", "devices/acme-phone/resume", {}),
        ):
            problem = assert_problem(send(client, method, path, body), 404)
            assert problem["detail"] == "You have no device with this ID."
        assert Device.objects.values().get(pk=acme.device.pk) == before
        assert DeviceStatus.objects.get(device=acme.device).state == "new"

    def test_a_viewer_changes_nothing(self, acme: Fleet) -> None:
        client = member(acme, Role.VIEWER)
        before = Device.objects.values().get(pk=acme.device.pk)
        for method, path, body in (
            ("post", "devices", {"device_id": "new"}),
            ("patch", "devices/acme-phone", {"name": "mine"}),
            ("delete", "devices/acme-phone", None),
            ("post", "devices/acme-phone/approve", {}),
            ("post", "devices/acme-phone/pause", {"why": "mine"}),
            ("post", "devices/acme-phone/resume", {}),
        ):
            assert_problem(send(client, method, path, body), 403)
        assert Device.objects.values().get() == before

    def test_who_manages_one_tenant_and_views_another_changes_the_first_only(
        self, acme: Fleet, rival: Fleet
    ) -> None:
        client = caller(person("mixed", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER)))
        assert send(client, "patch", "devices/acme-phone", {"name": "x"}).status_code == 200
        assert_problem(send(client, "patch", "devices/rival-phone", {"name": "x"}), 403)
        body = {"device_id": "new", "tenant": "rival"}
        assert_problem(send(client, "post", "devices", body), 403)
        # The only tenant in which devices may be added is the one that is meant.
        assert send(client, "post", "devices", {"device_id": "new"}).json()["tenant"] == "acme"

    def test_the_same_name_in_two_tenants_is_a_conflict_until_the_tenant_is_told(
        self, both: User, acme: Fleet
    ) -> None:
        client = caller(both)
        problem = assert_problem(send(client, "get", "devices/twin"), 409)
        assert "?tenant=" in problem["detail"]
        assert "acme, rival" in problem["detail"]
        assert send(client, "get", "devices/twin?tenant=rival").json()["tenant"] == "rival"
        assert_problem(send(client, "delete", "devices/twin"), 409)
        assert send(client, "delete", "devices/twin?tenant=acme").status_code == 204
        assert Device.objects.get(device_id="twin").tenant.slug == "rival"
        assert_problem(send(client, "get", "devices/twin?tenant=nobody"), 404)
        assert_problem(send(client, "get", "devices/twin?tenant=%00"), 404)

    @pytest.mark.parametrize("name", ["no", "a%00b", "..%2f..", "%27", "x" * 65, "é"])
    def test_a_name_that_no_device_has_is_not_found(self, acme: Fleet, name: str) -> None:
        assert_problem(send(member(acme, Role.VIEWER), "get", f"devices/{name}"), 404)

    def test_it_takes_few_queries(self, acme: Fleet) -> None:
        client = member(acme, Role.VIEWER)
        with CaptureQueriesContext(connection) as asked:
            send(client, "get", "devices/acme-phone")
        assert len(asked) <= SCOPE_QUERIES + 3, [one["sql"] for one in asked]


class TestAdding:
    def test_a_manager_adds_a_device(self, acme: Fleet) -> None:
        body = {
            "device_id": "probe-7",
            "name": "Roof",
            "kind": "probe",
            "site": acme.site.pk,
            "expected_interval_s": 10,
            "grace_s": 5,
        }
        answer = send(member(acme, Role.MANAGER), "post", "devices", body)
        assert answer.status_code == 201
        assert answer.json() | body == answer.json()
        assert answer.json()["state"] == "new"
        assert answer["Location"].endswith("/api/v1/devices/probe-7")
        assert Device.objects.get(device_id="probe-7").tenant == acme.tenant

    def test_an_operator_says_for_which_tenant(
        self, acme: Fleet, rival: Fleet, operator: User
    ) -> None:
        client = caller(operator)
        problem = assert_problem(send(client, "post", "devices", {"device_id": "x"}), 409)
        assert problem["errors"][0]["field"] == "tenant"
        answer = send(client, "post", "devices", {"device_id": "x", "tenant": "rival"})
        assert answer.json()["tenant"] == "rival"

    def test_nothing_is_added_to_another_tenant(self, acme: Fleet, rival: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        unknown, foreign = (
            assert_problem(send(client, "post", "devices", {"device_id": "x", "tenant": slug}), 404)
            for slug in ("nobody", "rival")
        )
        assert unknown == foreign
        assert Device.objects.count() == 2

    def test_a_site_of_another_tenant_is_as_one_that_does_not_exist(
        self, acme: Fleet, rival: Fleet, both: User
    ) -> None:
        for client in (member(acme, Role.MANAGER), caller(both)):
            for site in (rival.site.pk, 999_999):
                body = {"device_id": "x", "tenant": "acme", "site": site}
                problem = assert_problem(send(client, "post", "devices", body), 404)
                assert problem["errors"][0]["field"] == "site"
                body = {"site": site}
                assert_problem(send(client, "patch", "devices/acme-phone", body), 404)
        assert not Device.objects.filter(device_id="x").exists()
        assert Device.objects.get(pk=acme.device.pk).site is None

    def test_a_name_that_is_taken_is_a_conflict(self, acme: Fleet, rival: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        body = {"device_id": "acme-phone"}
        assert "already" in assert_problem(send(client, "post", "devices", body), 409)["detail"]
        # Taken in another tenant is not taken, and does not tell.
        assert send(client, "post", "devices", {"device_id": "rival-phone"}).status_code == 201

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "device_id"),
            ({"device_id": ""}, "device_id"),
            ({"device_id": "a/b"}, "device_id"),
            ({"device_id": " x "}, "device_id"),
            ({"device_id": "x\n"}, "device_id"),
            ({"device_id": "a\x00b"}, "device_id"),
            ({"device_id": "x" * 65}, "device_id"),
            ({"device_id": None}, "device_id"),
            ({"device_id": ["x"]}, "device_id"),
            ({"device_id": "x", "name": "a\x00"}, "name"),
            ({"device_id": "x", "name": "n" * 121}, "name"),
            ({"device_id": "x", "name": "n" * 120 + " "}, "name"),
            ({"device_id": "x", "kind": "toaster"}, "kind"),
            ({"device_id": "x", "site": "first"}, "site"),
            ({"device_id": "x", "site": "1"}, "site"),
            ({"device_id": "x", "site": True}, "site"),
            ({"device_id": 7}, "device_id"),
            ({"device_id": "x", "kind": 7}, "kind"),
            ({"device_id": "x", "site": 2**70}, "site"),
            ({"device_id": "x", "site": -1}, "site"),
            ({"device_id": "x", "expected_interval_s": 0}, "expected_interval_s"),
            ({"device_id": "x", "expected_interval_s": 1e300}, "expected_interval_s"),
            ({"device_id": "x", "grace_s": -1}, "grace_s"),
            ({"device_id": "x", "tenant": "a\x00"}, "tenant"),
            ({"device_id": "x", "is_pending": True}, "is_pending"),
            ({"device_id": "x", "nmae": "typo"}, "nmae"),
            ([], "non_field_errors"),
            ("text", "non_field_errors"),
        ],
    )
    def test_a_bad_field_is_named(self, acme: Fleet, body: object, field: str) -> None:
        problem = assert_problem(send(member(acme, Role.MANAGER), "post", "devices", body), 400)
        assert {error["field"] for error in problem["errors"]} == {field}
        assert Device.objects.count() == 1

    @pytest.mark.parametrize(
        ("data", "content_type", "status"),
        [
            (b"{", "application/json", 400),
            (b"\xff\xfe", "application/json", 400),
            (b'{"device_id": NaN}', "application/json", 400),
            (b"[" * 100_000, "application/json", 400),
            (b'{"device_id": ' + b"9" * 5000 + b"}", "application/json", 400),
            (b'{"device_id": "' + b"x" * 1024 * 1024 + b'"}', "application/json", 413),
            (b"device_id=x", "application/x-www-form-urlencoded", 415),
            (b"<x/>", "text/xml", 415),
            (b"{}", "application/json; charset=klingon", 400),
        ],
    )
    def test_a_body_that_is_no_json_is_a_problem(
        self, acme: Fleet, data: bytes, content_type: str, status: int
    ) -> None:
        client = member(acme, Role.MANAGER)
        answer = client.generic("POST", "/api/v1/devices", data, content_type)  # type: ignore[arg-type]
        assert_problem(answer, status)


class TestChanging:
    def test_only_what_is_sent_changes(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        answer = send(client, "patch", "devices/acme-phone", {"name": "New", "grace_s": 7})
        assert answer.status_code == 200
        assert (answer.json()["name"], answer.json()["grace_s"]) == ("New", 7)
        assert answer.json()["kind"] == "phone"
        assert DeviceStatus.objects.get(device=acme.device).grace_s == 7
        send(client, "patch", "devices/acme-phone", {"site": acme.site.pk})
        assert send(client, "patch", "devices/acme-phone", {}).json()["site"] == acme.site.pk
        body = {"site": None, "grace_s": None}
        assert send(client, "patch", "devices/acme-phone", body).json()["site"] is None

    def test_fields_that_do_not_go_together_are_a_conflict(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        problem = assert_problem(send(client, "patch", "devices/acme-phone", {"burst": 5}), 409)
        assert problem["errors"][0]["field"] == "burst"
        body = {"rate_per_s": 2, "burst": 5}
        assert send(client, "patch", "devices/acme-phone", body).json()["burst"] == 5

    def test_it_is_not_moved_to_another_tenant_from_either_end(
        self, acme: Fleet, rival: Fleet, both: User
    ) -> None:
        for client in (member(acme, Role.OWNER), member(rival, Role.OWNER), caller(both)):
            answer = send(client, "patch", "devices/acme-phone", {"tenant": "rival"})
            assert answer.status_code in (400, 404)
        assert Device.objects.get(pk=acme.device.pk).tenant == acme.tenant

    def test_a_member_no_longer_changes_anything_once_removed(self, acme: Fleet) -> None:
        client = caller(acme.manager)
        assert send(client, "patch", "devices/acme-phone", {"name": "x"}).status_code == 200
        Membership.objects.all().delete()
        assert_problem(send(client, "patch", "devices/acme-phone", {"name": "y"}), 403)
        assert_problem(send(client, "get", "devices/acme-phone"), 404)

    def test_a_pending_device_is_approved(self, acme: Fleet) -> None:
        Device.objects.update(is_pending=True)
        client = member(acme, Role.MANAGER)
        for _ in range(2):
            answer = send(client, "post", "devices/acme-phone/approve")
            assert answer.json()["is_pending"] is False

    def test_a_device_is_paused_with_a_reason_and_resumed(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        answer = send(client, "post", "devices/acme-phone/pause", {"why": "in repair"})
        assert answer.json()["state"] == "paused"
        reason = DeviceStatus.objects.get(device=acme.device).reason
        assert reason == "paused by acme-manager-1: in repair"
        assert send(client, "post", "devices/acme-phone/resume").json()["state"] == "new"

    @pytest.mark.parametrize("body", [{}, {"why": ""}, {"why": "x\x00"}, {"why": "x" * 201}])
    def test_a_pause_has_a_reason(self, acme: Fleet, body: dict[str, str]) -> None:
        client = member(acme, Role.MANAGER)
        assert_problem(send(client, "post", "devices/acme-phone/pause", body), 400)

    def test_a_device_is_removed_with_its_keys(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        assert send(client, "delete", "devices/acme-phone").status_code == 204
        assert_problem(send(client, "get", "devices/acme-phone"), 404)
        assert not Device.objects.exists()


class TestTags:
    def test_what_is_known_is_not_sent_again(self, acme: Fleet) -> None:
        client = member(acme, Role.VIEWER)
        etag = send(client, "get", "devices/acme-phone")["ETag"]
        for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = send(client, "get", "devices/acme-phone", HTTP_IF_NONE_MATCH=header)
            assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
        DeviceStatus.objects.update(state="offline", state_since=datetime.now(UTC))
        changed = send(client, "get", "devices/acme-phone", HTTP_IF_NONE_MATCH=etag)
        assert changed.status_code == 200
        assert changed["ETag"] != etag

    def test_nobody_overwrites_what_they_have_not_seen(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        seen = send(client, "get", "devices/acme-phone")["ETag"]
        body = {"name": "first"}
        first = send(client, "patch", "devices/acme-phone", body, HTTP_IF_MATCH=seen)
        assert first.status_code == 200
        for method, path in (
            ("patch", "devices/acme-phone"),
            ("delete", "devices/acme-phone"),
            ("post", "devices/acme-phone/pause"),
        ):
            answer = send(client, method, path, {"name": "second"}, HTTP_IF_MATCH=seen)
            assert "read it again" in assert_problem(answer, 412)["detail"]
        assert Device.objects.get().name == "first"
        body = {"name": "second"}
        for header in (first["ETag"], "*"):
            answer = send(client, "patch", "devices/acme-phone", body, HTTP_IF_MATCH=header)
            assert answer.status_code == 200
        for header in ("nonsense", '"a\r\nb"', "W/" + first["ETag"], ""):
            answer = send(client, "patch", "devices/acme-phone", body, HTTP_IF_MATCH=header)
            assert_problem(answer, 412)


def test_an_inactive_tenants_devices_are_still_shown(acme: Fleet) -> None:
    Tenant.objects.update(is_active=False)
    assert len(send(member(acme, Role.VIEWER), "get", "devices").json()["results"]) == 1


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("devices", "tenant, state, kind, site, group, pending, q, limit, ordering, cursor"),
        ("sites", "tenant, q, limit, ordering, cursor"),
        ("groups", "tenant, q, limit, ordering, cursor"),
        ("tenants", "q, limit, ordering, cursor"),
        ("members", "tenant, q, limit, ordering, cursor"),
        ("enrolment-tokens", "tenant, q, limit, ordering, cursor"),
        ("tenants/acme/credentials", "limit, ordering, cursor"),
        ("devices/acme-phone", "tenant"),
        ("devices/acme-phone/status", "tenant"),
        ("devices/acme-phone/credentials", "limit, ordering, cursor, tenant"),
        ("devices/acme-phone/heartbeats", "hours, start, end, limit, cursor, tenant"),
        (
            "devices/acme-phone/readings",
            "hours, start, end, limit, cursor, metric, bucket, fill, format, tenant",
        ),
        ("devices/acme-phone/presence", "limit, cursor, tenant"),
        ("telemetry/summary", "hours, tenant"),
    ],
)
def test_a_parameter_that_is_misspelt_is_refused_with_those_there_are(
    acme: Fleet, path: str, known: str
) -> None:
    client = member(acme, Role.OWNER)
    assert send(client, "get", path).status_code == 200

    problem = assert_problem(send(client, "get", f"{path}?stat=offline"), 400)

    assert problem["errors"] == [
        {"field": "stat", "reason": f"This is not a parameter here; these are: {known}."}
    ]
