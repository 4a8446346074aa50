"""Renaming, aliases and the past of devices over the API."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from devices.models import Device, DeviceAlias, HistoryEntry
from devices.tenancy.access import Role
from telemetry.models import DeviceStatus
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send
from tests.telemetry.past import moments, store

MAC = ("AA:BB:CC:DD:EE:FF", "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff")


@pytest.fixture
def client(acme: Fleet) -> Any:
    return caller(acme.manager)


def test_a_renamed_device_is_found_by_its_old_id(acme: Fleet, rival: Fleet, client: Any) -> None:
    answer = send(client, "patch", "devices/acme-phone", {"device_id": "renamed"})

    assert answer.status_code == 200
    assert (answer.json()["device_id"], answer.json()["aliases"]) == ("renamed", ["acme-phone"])
    for path in ("", "/status", "/readings?hours=1", "/heartbeats?hours=1", "/presence"):
        by_alias = send(client, "get", f"devices/acme-phone{path}")
        assert by_alias.status_code == 200, path
        assert by_alias.json().get("device_id", "renamed") == "renamed", path
    assert send(client, "get", "devices/acme-phone/credentials").json()["results"]
    (row,) = send(client, "get", "devices").json()["results"]
    assert row["aliases"] == ["acme-phone"]
    assert_problem(send(caller(rival.manager), "get", "devices/acme-phone"), 404)
    assert_problem(send(caller(rival.manager), "get", "devices/renamed"), 404)


def test_a_device_is_addressed_in_any_spelling(acme: Fleet, client: Any) -> None:
    made = send(client, "post", "devices", {"device_id": MAC[0]})
    assert (made.status_code, made.json()["device_id"]) == (201, MAC[0])

    for spelling in MAC:
        assert send(client, "get", f"devices/{spelling}").json()["device_id"] == MAC[0]
        assert send(client, "get", f"devices/{spelling}/status").json()["device_id"] == MAC[0]
    for other in ("ACME-PHONE", "aa:bb:cc:dd:ee:fe", "AABB-CCDD-EEFF"):
        assert_problem(send(client, "get", f"devices/{other}"), 404)
    respelled = send(client, "patch", f"devices/{MAC[1]}", {"device_id": MAC[2]}).json()
    assert (respelled["device_id"], respelled["aliases"]) == (MAC[2], [MAC[0]])


@pytest.mark.parametrize(
    ("device_id", "words"),
    [
        ("acme-phone", "an alias of the device renamed. Remove it there first"),
        ("renamed", "already has a device with this device ID"),
        (MAC[1], f"another spelling of a name of the device {MAC[0]}"),
        (MAC[3], f"another spelling of a name of the device {MAC[0]}"),
    ],
)
def test_a_name_in_use_is_a_conflict_that_says_whose_it_is(
    acme: Fleet, rival: Fleet, client: Any, device_id: str, words: str
) -> None:
    send(client, "patch", "devices/acme-phone", {"device_id": "renamed"})
    for name in (MAC[0], "other"):
        assert send(client, "post", "devices", {"device_id": name}).status_code == 201

    for answer in (
        send(client, "post", "devices", {"device_id": device_id}),
        send(client, "patch", "devices/other", {"device_id": device_id}),
    ):
        assert words in assert_problem(answer, 409)["detail"]
    assert Device.objects.filter(tenant=acme.tenant).count() == 3
    other_tenants = send(caller(rival.manager), "post", "devices", {"device_id": device_id})
    assert other_tenants.status_code == 201


@pytest.mark.parametrize("device_id", ["", "a/b", "-a", "x" * 65, None, 7])
def test_a_wrong_id_renames_nothing(acme: Fleet, client: Any, device_id: Any) -> None:
    assert_problem(send(client, "patch", "devices/acme-phone", {"device_id": device_id}), 400)
    assert Device.objects.get(pk=acme.device.pk).device_id == "acme-phone"
    assert not DeviceAlias.objects.exists()


def test_renaming_back_and_removing_aliases(acme: Fleet, client: Any) -> None:
    for device_id in ("second", "third", "acme-phone"):
        send(client, "patch", "devices/acme-phone", {"device_id": device_id})
    assert send(client, "get", "devices/third").json()["aliases"] == ["second", "third"]

    removed = send(client, "delete", "devices/acme-phone/aliases/second")

    assert removed.status_code == 204
    assert_problem(send(client, "delete", "devices/acme-phone/aliases/second"), 404)
    assert_problem(send(client, "delete", "devices/acme-phone/aliases/acme-phone"), 404)
    assert_problem(send(client, "get", "devices/second"), 404)
    assert send(client, "get", "devices/acme-phone").json()["aliases"] == ["third"]
    entry = HistoryEntry.objects.get(subject="alias", change="delete", object_name="second")
    assert (entry.who, entry.of_device) == ("acme-manager", acme.device.pk)


def test_only_those_who_may_change_a_device_rename_it_or_remove_an_alias(
    acme: Fleet, rival: Fleet
) -> None:
    Device.objects.filter(pk=acme.device.pk).update(device_id="renamed")
    viewer = member(acme, Role.VIEWER)

    assert_problem(send(viewer, "patch", "devices/renamed", {"device_id": "x"}), 403)
    assert_problem(send(viewer, "delete", "devices/renamed/aliases/acme-phone"), 403)
    for method, path in (("patch", ""), ("delete", "/aliases/acme-phone")):
        answer = send(caller(rival.manager), method, f"devices/renamed{path}", {"device_id": "x"})
        assert_problem(answer, 404)
    assert DeviceAlias.objects.filter(alias="acme-phone").exists()


def test_a_name_in_two_tenants_needs_the_tenant(
    acme: Fleet, rival: Fleet, operator: User, consultant: User
) -> None:
    for fleet in (acme, rival):
        fleet.device.device_id = "renamed"
        fleet.device.save()
        Device.objects.create(tenant=fleet.tenant, device_id=MAC[0])
        Device.objects.filter(pk=fleet.device.pk).update(device_id="again")

    for person in (operator, consultant):
        for name in ("renamed", MAC[2]):
            assert (
                "?tenant="
                in assert_problem(send(caller(person), "get", f"devices/{name}"), 409)["detail"]
            )
            named = send(caller(person), "get", f"devices/{name}?tenant=rival")
            assert named.json()["tenant"] == "rival"


class TestPast:
    def test_a_device_added_again_takes_up_its_past_if_asked(
        self, acme: Fleet, rival: Fleet, client: Any
    ) -> None:
        for at in moments(3):
            store(acme.device, at, {"a": 1})
        old = acme.device.pk
        assert send(client, "delete", "devices/acme-phone").status_code == 204

        answer = send(client, "post", "devices", {"device_id": "acme-phone", "take_up_past": True})

        assert (answer.status_code, answer.json()["id"]) == (201, old)
        assert (answer.json()["state"], answer.json()["aliases"]) == ("new", [])
        rows = send(client, "get", "devices/acme-phone/readings?hours=1").json()["results"]
        assert len(rows) == 3
        changes = HistoryEntry.objects.filter(subject="device", object_id=old).order_by("number")
        assert [one.change for one in changes] == ["insert", "delete", "insert"]
        assert DeviceStatus.objects.filter(device_id=old, tenant=acme.tenant).count() == 1
        # Later devices get new ids as before.
        later = send(client, "post", "devices", {"device_id": "later"}).json()
        assert later["id"] > max(old, rival.device.pk)

    def test_without_being_asked_it_begins_anew(self, acme: Fleet, client: Any) -> None:
        store(acme.device, moments(1)[0], {"a": 1})
        send(client, "delete", "devices/acme-phone")

        for body in ({}, {"take_up_past": False}):
            made = send(client, "post", "devices", {"device_id": "acme-phone", **body})
            assert made.status_code == 201 and made.json()["id"] != acme.device.pk
            rows = send(client, "get", "devices/acme-phone/readings?hours=1").json()["results"]
            assert rows == []
            send(client, "delete", "devices/acme-phone")

    def test_of_several_it_takes_up_that_of_the_one_that_existed_longest(
        self, acme: Fleet, client: Any
    ) -> None:
        """A gateway has added the device again before somebody noticed."""
        at = "SELECT pgh_id FROM devices_deviceevent WHERE pgh_obj_id = %s AND pgh_label = 'insert'"
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE devices_deviceevent SET pgh_created_at = now() - interval '1 year' "
                f"WHERE pgh_id IN ({at})",
                [acme.device.pk],
            )
        for _ in range(2):
            send(client, "delete", "devices/acme-phone")
            send(client, "post", "devices", {"device_id": "acme-phone"})
        send(client, "delete", "devices/acme-phone")

        body = {"device_id": "acme-phone", "take_up_past": True}
        assert send(client, "post", "devices", body).json()["id"] == acme.device.pk

    def test_it_is_found_in_another_spelling(self, acme: Fleet, client: Any) -> None:
        old = send(client, "post", "devices", {"device_id": MAC[0]}).json()["id"]
        send(client, "delete", f"devices/{MAC[2]}")

        again = {"device_id": MAC[1], "take_up_past": True}
        assert send(client, "post", "devices", again).json()["id"] == old

    def test_no_past_to_take_up_is_a_conflict(self, acme: Fleet, rival: Fleet, client: Any) -> None:
        send(caller(rival.manager), "delete", "devices/rival-phone")
        for device_id in ("never-was", "rival-phone"):
            body = {"device_id": device_id, "take_up_past": True}
            assert (
                "not deleted"
                in assert_problem(send(client, "post", "devices", body), 409)["detail"]
            )
        assert Device.objects.count() == 1

    def test_nobody_takes_another_tenants_past_not_even_an_operator_for_somebody(
        self, acme: Fleet, rival: Fleet, operator: User, consultant: User
    ) -> None:
        same = Device.objects.create(tenant=rival.tenant, device_id="acme-phone")
        send(caller(operator), "delete", "devices/acme-phone?tenant=rival")
        assert not Device.objects.filter(pk=same.pk).exists()
        send(caller(acme.manager), "delete", "devices/acme-phone")

        body = {"device_id": "acme-phone", "take_up_past": True}
        answer = send(caller(operator), "post", "devices", {"tenant": "acme", **body})

        assert (answer.status_code, answer.json()["id"]) == (201, acme.device.pk)
        send(caller(operator), "delete", "devices/acme-phone?tenant=acme")
        answer = send(caller(consultant), "post", "devices", {"tenant": "acme", **body})
        assert answer.json()["id"] == acme.device.pk

    def test_a_past_is_taken_up_once(self, acme: Fleet, client: Any) -> None:
        send(client, "delete", "devices/acme-phone")
        body = {"device_id": "acme-phone", "take_up_past": True}
        send(client, "post", "devices", body)
        send(client, "patch", "devices/acme-phone", {"device_id": "renamed"})
        send(client, "delete", "devices/renamed/aliases/acme-phone")

        assert_problem(send(client, "post", "devices", body), 409)
