"""Devices are found by every name over MQTT."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.fleet.keys import credential_issue
from devices.models import Device, Registration
from ingest.door.authentication import TenantCache
from ingest.mqtt.batch import batch_accept
from tests.conftest import Fleet
from tests.ingest.door.test_names import EUI, IMEI, MAC, UUID, devices_heard
from tests.ingest.mqtt.test_access import files, fits, passwords
from tests.ingest.mqtt.test_batch import accept, codes, heartbeat, telemetry
from tests.ingest.unavailable import database_unavailable

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory")
METRICS = {"metrics": {"a": 1}}


@pytest.fixture
def renamed(acme: Fleet) -> Device:
    acme.device.device_id = "renamed"
    acme.device.save()
    return acme.device


def test_topics_and_bodies_with_an_old_id_are_the_devices(
    acme: Fleet, rival: Fleet, renamed: Device
) -> None:
    outcome = accept(
        heartbeat("acme-phone", {}),
        heartbeat("acme-phone", {"device_id": "renamed"}),
        heartbeat("renamed", {"device_id": "acme-phone"}),
        telemetry("acme-phone", METRICS),
        telemetry("renamed", {"device_id": "acme-phone", **METRICS}, after_ms=1),
        telemetry("acme-phone", [{"device_id": "renamed", **METRICS}], after_ms=2),
    )

    assert (outcome.accepted, codes(outcome)) == (6, [])
    assert devices_heard() == [renamed.pk] * 6


@pytest.mark.parametrize("spellings", [MAC, IMEI, UUID, EUI], ids=["MAC", "IMEI", "UUID", "EUI"])
def test_one_thing_in_several_spellings_is_one_device(
    acme: Fleet, rival: Fleet, spellings: tuple[str, ...]
) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()

    outcome = accept(
        *(heartbeat(name, {}) for name in spellings),
        *(telemetry(name, METRICS, after_ms=n) for n, name in enumerate(spellings)),
        telemetry(spellings[0], {"device_id": spellings[1], **METRICS}, after_ms=9),
    )

    assert (outcome.accepted, codes(outcome)) == (2 * len(spellings) + 1, [])
    new = Device.objects.filter(tenant=acme.tenant).exclude(pk=acme.device.pk).get()
    assert set(devices_heard()) == {new.pk}


def test_a_topic_and_a_body_in_two_spellings_register_one_device(acme: Fleet) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()

    outcome = accept(
        telemetry(MAC[1], {"device_id": MAC[2], **METRICS}),
        heartbeat(IMEI[0], {"device_id": IMEI[1]}),
    )

    assert (outcome.accepted, codes(outcome)) == (2, [])
    new = Device.objects.filter(tenant=acme.tenant).exclude(pk=acme.device.pk)
    assert {one.device_id for one in new} == {MAC[1], IMEI[0]}


def test_a_topic_is_still_for_no_other_device(acme: Fleet, rival: Fleet, renamed: Device) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()
    Device.objects.create(tenant=acme.tenant, device_id="other")

    outcome = accept(
        heartbeat("renamed", {"device_id": "other"}),
        telemetry("acme-phone", {"device_id": "other", **METRICS}),
        telemetry("renamed", {"device_id": "rival-phone", **METRICS}),
        telemetry("never-heard-of", {"device_id": "renamed", **METRICS}),
    )

    assert (outcome.accepted, codes(outcome)) == (0, ["forbidden"] * 4)
    assert not Device.objects.filter(device_id="never-heard-of").exists()


@pytest.mark.django_db(transaction=True)
def test_an_old_id_in_a_body_waits_while_the_database_is_unavailable(
    acme: Fleet, renamed: Device
) -> None:
    tenants = TenantCache()
    known = [heartbeat("renamed", {}), heartbeat("renamed", {"device_id": "acme-phone"})]
    strange = heartbeat("renamed", {"device_id": "unseen"})
    assert batch_accept(messages=known, tenants=tenants).accepted == 2

    with database_unavailable():
        outcome = batch_accept(messages=[strange, *known], tenants=tenants)

    assert (outcome.accepted, codes(outcome), list(outcome.waiting)) == (2, [], [0])


def test_names_that_are_all_the_topics_cost_no_more_queries(acme: Fleet) -> None:
    def queries(*bodies: dict[str, str]) -> int:
        tenants = TenantCache()
        with CaptureQueriesContext(connection) as made:
            batch_accept(messages=[heartbeat("acme-phone", one) for one in bodies], tenants=tenants)
        return len(made)

    assert queries({}) > 0
    assert queries({"device_id": "acme-phone"}) == queries({}, {"device_id": "acme-phone"})


def test_a_device_signs_in_under_each_of_its_names(
    acme: Fleet, rival: Fleet, renamed: Device
) -> None:
    renamed.device_id = MAC[0]
    renamed.save()
    newest = credential_issue(device=renamed).key

    made = files()

    known = passwords(made.passwords)
    users = {
        "acme/device/AA%3ABB%3ACC%3ADD%3AEE%3AFF": ["acme-phone", "renamed", MAC[0]],
        "acme/device/acme-phone": ["renamed", MAC[0]],
        "acme/device/renamed": ["acme-phone", MAC[0]],
    }
    assert known.keys() == {*users, "rival/device/rival-phone", "rollcall"}
    rights = {one.split("\n")[0]: one.split("\n")[1:] for one in made.acl.split("\n\n")}
    for user, topics in users.items():
        assert fits(known[user], newest)
        # The pattern covers a user's own name, unless that has a colon.
        expected = {f"topic write tenant/acme/device/{topic}/#" for topic in topics}
        assert set(rights[f"user {user}"]) == expected
    assert "user rival/device/rival-phone" not in rights
    assert json.dumps(made.acl).count("rival") == 0
