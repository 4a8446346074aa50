"""Devices over the API: found, added, changed, paused and removed by those who may."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, Membership, Site, Tenant
from devices.tenancy.access import Role
from telemetry.models import DeviceStatus
from tests.admin import RECORD_QUERIES, SCOPE_QUERIES, person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, device_of, member, send


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
                "paused_until": None,
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
        # Without a tenant, the only one in which the person may add devices is used.
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
        # A name used in another tenant is free here, and nothing reveals it.
        assert send(client, "post", "devices", {"device_id": "rival-phone"}).status_code == 201


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

    def test_a_pause_may_have_an_end(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        body = {"why": "Christmas", "until": "2126-12-24T08:00:00Z"}
        answer = send(client, "post", "devices/acme-phone/pause", body)
        assert answer.json()["paused_until"] == "2126-12-24T08:00:00Z"
        told = send(client, "get", "devices/acme-phone/status").json()
        assert told["paused_until"] == "2126-12-24T08:00:00Z"
        assert told["reason"] == "paused by acme-manager-1 until 2126-12-24 08:00 UTC: Christmas"

        answer = send(
            client, "post", "devices/acme-phone/pause", {"why": "for good", "until": None}
        )
        assert answer.json()["paused_until"] is None
        resumed = send(client, "post", "devices/acme-phone/resume").json()
        assert (resumed["state"], resumed["paused_until"]) == ("new", None)

    @pytest.mark.parametrize(
        "until", ["2020-01-01T00:00:00Z", "soon", 1, "9999-12-31T23:59:59-12:00", {}]
    )
    def test_a_pause_ends_in_the_future(self, acme: Fleet, until: object) -> None:
        client = member(acme, Role.MANAGER)
        body = {"why": "x", "until": until}
        assert_problem(send(client, "post", "devices/acme-phone/pause", body), 400)
        assert DeviceStatus.objects.get(device=acme.device).state == "new"

    @pytest.mark.parametrize(("interval_s", "status"), [(366 * 86_400, 200), (31_622_401, 400)])
    def test_an_interval_may_be_a_year(self, acme: Fleet, interval_s: int, status: int) -> None:
        client = member(acme, Role.MANAGER)
        answer = send(client, "patch", "devices/acme-phone", {"expected_interval_s": interval_s})
        assert answer.status_code == status

    def test_a_device_is_removed_with_its_keys(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        assert send(client, "delete", "devices/acme-phone").status_code == 204
        assert_problem(send(client, "get", "devices/acme-phone"), 404)
        assert not Device.objects.exists()


def test_an_inactive_tenants_devices_are_still_shown(acme: Fleet) -> None:
    Tenant.objects.update(is_active=False)
    assert len(send(member(acme, Role.VIEWER), "get", "devices").json()["results"]) == 1
