"""Devices are found by every name over HTTP."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.fleet.aliases import alias_remove
from devices.fleet.keys import credential_issue, gateway_credential_issue
from devices.models import Device, Registration
from ingest.door import directory as directories
from ingest.models import Refusal
from telemetry.models import Reading
from tests.conftest import Fleet
from tests.ingest.door.test_enrol import enrol, token_of
from tests.ingest.door.test_views_heartbeats import assert_problem, waiting
from tests.ingest.way import drain
from tests.telemetry.past import moments

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory", "keys_not_remembered")

MAC = ("AA:BB:CC:DD:EE:FF", "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff")
IMEI = ("490154203237518", "49-015420-323751-8", "49 015420 323751 8")
UUID = (
    "e33e47e7-8cb4-42bc-b6b7-9b3b25727cfb",
    "{E33E47E7-8CB4-42BC-B6B7-9B3B25727CFB}",
    "e33e47e78cb442bcb6b79b3b25727cfb",
)
EUI = ("70:B3:D5:7E:D0:00:00:01", "70b3d57ed0000001", "70B3.D57E.D000.0001")

Send = Callable[[Client, str, list[str]], Any]


@pytest.fixture
def renamed(acme: Fleet) -> Device:
    """A device that goes on with its old ID."""
    acme.device.device_id = "renamed"
    acme.device.save()
    return acme.device


def post(client: Client, path: str, key: str, body: str | bytes, **extra: Any) -> Any:
    extra.setdefault("content_type", "application/json")
    return client.post(path, body, headers={"Authorization": f"Bearer {key}"}, **extra)


def readings_of(names: list[str]) -> list[dict[str, Any]]:
    times = moments(len(names))
    return [
        {"device_id": name, "time": time.isoformat(), "metrics": {"a": 1}}
        for name, time in zip(names, times, strict=True)
    ]


def heartbeats(client: Client, key: str, names: list[str]) -> Any:
    for name in names:
        answer = post(client, "/api/v1/heartbeats", key, json.dumps({"device_id": name}))
    return answer


def single_readings(client: Client, key: str, names: list[str]) -> Any:
    for one in readings_of(names):
        answer = post(client, "/api/v1/readings", key, json.dumps(one))
    return answer


def array(client: Client, key: str, names: list[str]) -> Any:
    return post(client, "/api/v1/readings", key, json.dumps(readings_of(names)))


def ndjson(client: Client, key: str, names: list[str], **extra: Any) -> Any:
    body = "\n".join(map(json.dumps, readings_of(names))).encode()
    kind = "application/x-ndjson"
    return post(client, "/api/v1/readings", key, body, content_type=kind, **extra)


def gzipped(client: Client, key: str, names: list[str]) -> Any:
    body = gzip.compress("\n".join(map(json.dumps, readings_of(names))).encode())
    return post(
        client,
        "/api/v1/readings",
        key,
        body,
        content_type="application/x-ndjson",
        HTTP_CONTENT_ENCODING="gzip",
    )


def pushes(client: Client, key: str, names: list[str]) -> Any:
    for name, time in zip(names, moments(len(names)), strict=True):
        body = {"node_id": name, "latency": 1, "timestamp": time.isoformat()}
        answer = post(client, "/api/push", key, json.dumps(body))
    return answer


WAYS: list[Send] = [heartbeats, single_readings, array, ndjson, gzipped, pushes]


def devices_heard() -> list[int]:
    """The device of each message that is waiting."""
    return [
        one.device_id for entry in waiting() for one in getattr(entry, "readings", None) or [entry]
    ]


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize("by", ["device", "gateway"])
def test_a_device_that_goes_on_with_its_old_id_is_heard(
    client: Client, acme: Fleet, renamed: Device, gateway: str, send: Send, by: str
) -> None:
    key = acme.key if by == "device" else gateway

    assert send(client, key, ["acme-phone", "renamed", "acme-phone"]).status_code == 202

    assert devices_heard() == [renamed.pk] * 3
    assert Device.objects.filter(tenant=acme.tenant).count() == 1


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize("spellings", [MAC, IMEI, UUID, EUI], ids=["MAC", "IMEI", "UUID", "EUI"])
def test_one_thing_in_three_spellings_is_one_device_of_a_gateway(
    client: Client, acme: Fleet, rival: Fleet, gateway: str, spellings: tuple[str, ...], send: Send
) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()
    other = Device.objects.create(tenant=rival.tenant, device_id=spellings[0])

    assert send(client, gateway, list(spellings)).status_code == 202

    new = Device.objects.exclude(pk__in=(acme.device.pk, rival.device.pk, other.pk)).get()
    assert (new.tenant, new.device_id) == (acme.tenant, spellings[0])
    assert devices_heard() == [new.pk] * len(spellings)


@pytest.mark.parametrize("send", WAYS)
def test_a_device_may_spell_its_own_id_as_it_likes(client: Client, acme: Fleet, send: Send) -> None:
    device = Device.objects.create(tenant=acme.tenant, device_id=MAC[2])
    key = credential_issue(device=device).key

    assert send(client, key, list(MAC)).status_code == 202

    assert devices_heard() == [device.pk] * len(MAC)


@pytest.mark.parametrize("name", ["other", "other-before", "nobody", MAC[0]])
@pytest.mark.parametrize("send", WAYS)
def test_a_devices_key_is_still_for_no_other_device(
    client: Client, acme: Fleet, rival: Fleet, send: Send, name: str
) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()
    for fleet in (acme, rival):
        other = Device.objects.create(tenant=fleet.tenant, device_id="other-before")
        other.device_id = "other"
        other.save()
    rival.device.device_id = "acme-phone"
    rival.device.save()

    answer = send(client, acme.key, [name])

    assert answer.status_code in (400, 403), answer.content
    assert devices_heard() == []
    assert Device.objects.filter(tenant=acme.tenant).count() == 2


def test_the_old_id_of_another_tenants_device_says_nothing(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    rival.device.device_id = "renamed"
    rival.device.save()

    answer = array(client, gateway, ["rival-phone", "renamed"])

    assert "unknown device" in assert_problem(answer, 400)["detail"]
    assert devices_heard() == []


def test_readings_under_several_names_are_one_devices_readings(
    client: Client, acme: Fleet, renamed: Device, gateway: str
) -> None:
    sent = readings_of(["acme-phone", "renamed"])
    twice = [sent[0], {**sent[0], "device_id": "renamed"}, sent[1]]

    assert post(client, "/api/v1/readings", gateway, json.dumps(twice)).json()["accepted"] == 3
    drain()

    assert Reading.objects.filter(device=renamed).count() == 2


def test_a_removed_alias_no_longer_finds_the_device(
    client: Client, acme: Fleet, renamed: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(directories, "monotonic", lambda: now[0])
    assert heartbeats(client, acme.key, ["acme-phone"]).status_code == 202
    alias_remove(device=renamed, alias="acme-phone")
    now[0] += directories.REMEMBER_S + 1

    assert_problem(heartbeats(client, acme.key, ["acme-phone"]), 403)


def test_a_flood_of_foreign_names_costs_a_query_each_few_seconds(
    client: Client, acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_KEY_CACHE_S = 600
    names = ["nobody", "no one", *(f"x{n}" for n in range(100))]
    array(client, acme.key, names)

    with CaptureQueriesContext(connection) as queries:
        for _ in range(3):
            array(client, acme.key, names)

    assert not [one for one in queries if "devices_devicename" in one["sql"]]


def test_a_token_takes_over_no_device_by_an_old_id_or_another_spelling(
    client: Client, acme: Fleet, rival: Fleet, renamed: Device
) -> None:
    Device.objects.create(tenant=acme.tenant, device_id=MAC[0])
    _, text = token_of(acme, max_uses=5)

    for name, words in (
        ("acme-phone", "The device renamed, which is also called acme-phone, already exists"),
        ("renamed", "The device renamed already exists"),
        (MAC[2], f"The device {MAC[0]}, which is also called {MAC[2]}, already exists"),
    ):
        assert words in assert_problem(enrol(client, text, name), 409)["detail"]
    _, text = token_of(rival)
    assert enrol(client, text, "renamed").status_code == 201


def test_a_gateways_breach_is_the_devices_whatever_it_is_called(
    client: Client, acme: Fleet, renamed: Device
) -> None:
    """A limit counts a device's messages together."""
    Device.objects.filter(pk=renamed.pk).update(rate_per_s=0.001, burst=2)
    key = gateway_credential_issue(tenant=acme.tenant).key

    answers = [heartbeats(client, key, [name]) for name in ("acme-phone", "renamed", "acme-phone")]

    assert [one.status_code for one in answers] == [202, 202, 429]
    assert Refusal.objects.count() == 0  # not collected yet
