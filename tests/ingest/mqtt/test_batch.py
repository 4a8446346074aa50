import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from devices.models import Device, Registration, Tenant
from ingest.door import authentication
from ingest.door import directory as directories
from ingest.door.authentication import TenantCache
from ingest.mqtt.batch import MAX_BYTES, BatchOutcome, Published, batch_accept
from ingest.mqtt.bridge import BATCH_MESSAGES
from ingest.stream import shards
from ingest.stream.entries import HeartbeatEntry, ReadingsEntry, decode
from telemetry.vitals import NAMES
from tests.conftest import Fleet
from tests.ingest.unavailable import database_unavailable

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory")
NOW = datetime.now(UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the caches see it."""
    now = [1000.0]
    for module in (authentication, directories):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def published(
    topic: str, payload: bytes | dict[str, Any] | list[Any], after_ms: int = 0
) -> Published:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Published(topic, data, NOW + timedelta(milliseconds=after_ms))


def telemetry(
    device_id: str, payload: Any, *, tenant: str = "acme", after_ms: int = 0
) -> Published:
    return published(f"tenant/{tenant}/device/{device_id}/telemetry", payload, after_ms)


def heartbeat(device_id: str, payload: Any, *, tenant: str = "acme") -> Published:
    return published(f"tenant/{tenant}/device/{device_id}/heartbeat", payload)


def accept(*messages: Published) -> BatchOutcome:
    return batch_accept(messages=messages, tenants=TenantCache())


def waiting() -> list[Any]:
    entries: Any = shards.connection().xrange(shards.stream_key(0))
    return [decode(fields[shards.FIELD]) for _, fields in entries]


def codes(outcome: BatchOutcome) -> list[str]:
    return [refused.code for refused in outcome.refused]


def test_messages_of_a_tenant_become_one_entry_each_with_its_own_time(
    acme: Fleet, rival: Fleet
) -> None:
    outcome = accept(
        telemetry("acme-phone", {"site_id": "north", "seq": 1, "metrics": {"temp_c": 1}}),
        telemetry("rival-phone", {"metrics": {"temp_c": 2}}, tenant="rival", after_ms=1),
        telemetry("acme-phone", [{"metrics": {"temp_c": 3}}], after_ms=2),
    )

    assert outcome == BatchOutcome(3, [])
    ours, theirs = sorted(waiting(), key=lambda entry: entry.tenant_id)
    assert isinstance(ours, ReadingsEntry) and isinstance(theirs, ReadingsEntry)
    assert [(one.device_id, one.time, one.seq, one.site) for one in ours.readings] == [
        (acme.device.pk, NOW, 1, "north"),
        (acme.device.pk, NOW + timedelta(milliseconds=2), None, None),
    ]
    assert (theirs.tenant_id, theirs.count) == (rival.tenant.pk, 1)
    assert shards.waiting_counts(0)[f"t{acme.tenant.pk}"] == 2


def test_heartbeats_and_readings_mix(acme: Fleet) -> None:
    outcome = accept(
        heartbeat("acme-phone", {"battery_pct": 71.5}),
        telemetry("acme-phone", {"metrics": {"temp_c": 1}}),
        heartbeat("acme-phone", {"device_id": "acme-phone"}),
    )

    assert outcome == BatchOutcome(3, [])
    kinds = [type(entry) for entry in waiting()]
    assert kinds == [HeartbeatEntry, HeartbeatEntry, ReadingsEntry]
    assert dict(zip(NAMES, waiting()[0].named, strict=True))["battery_pct"] == 71.5
    assert waiting()[0].device_id == acme.device.pk


def test_bad_ones_are_refused_and_good_ones_accepted(acme: Fleet) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="other")
    outcome = accept(
        published("tenant/acme/device/acme-phone/firmware", b"{}"),
        published("tenant/acme/telemetry", b"{}"),
        telemetry("acme-phone", b" " * (MAX_BYTES + 1)),
        telemetry("acme-phone", b"\xff{"),
        telemetry("acme-phone", {"metrics": {}}),
        telemetry("acme-phone", {"device_id": "other", "metrics": {"a": 1}}),
        heartbeat("acme-phone", {"device_id": "other"}),
        telemetry("nobody", {"metrics": {"a": 1}}),
        heartbeat("nobody", {}),
        heartbeat("x", {}, tenant="nowhere"),
        telemetry("acme-phone", [{"metrics": {"a": 1}}, {"metrics": 7}]),
    )

    assert outcome.accepted == 1
    assert Counter(codes(outcome)) == {
        "topic": 2,
        "too_large": 1,
        "invalid": 3,
        "forbidden": 2,
        "unknown_device": 2,
        "unknown_tenant": 1,
    }
    assert [entry.count for entry in waiting()] == [1]


@pytest.mark.parametrize("wrong", ["nan", "-inf", "01", "1,", '"\\ud800"'])
def test_a_value_that_is_no_json_refuses_its_own_message_only(acme: Fleet, wrong: str) -> None:
    messages = [f'{{"metrics": {{"a": {value}}}}}' for value in ("1", wrong, "3")]

    for payload in (f"[{','.join(messages)}]", "\n".join(messages)):
        outcome = accept(telemetry("acme-phone", payload.encode()))

        assert (outcome.accepted, codes(outcome)) == (2, ["invalid"])
    assert [one.metrics for entry in waiting() for one in entry.readings] == [
        b'{"a":1}',
        b'{"a":3}',
    ] * 2


def test_a_heartbeat_loses_only_the_values_that_cannot_be_used(acme: Fleet) -> None:
    payload = b'\xef\xbb\xbf{"battery_pct": 255, "rssi_dbm": -67, "version": 14, "a": nan}\0'

    outcome = accept(heartbeat("acme-phone", payload))

    assert outcome == BatchOutcome(1, [])
    assert waiting()[0].named == (None, -67.0, None, "14")


def test_a_device_may_name_itself_by_a_number(acme: Fleet) -> None:
    device = Device.objects.create(tenant=acme.tenant, device_id="77")

    outcome = accept(
        heartbeat("77", {"device_id": 77}),
        telemetry("77", {"device_id": 77, "metrics": {"a": 1, "b": None}}),
    )

    assert outcome == BatchOutcome(2, [])
    beat, readings = waiting()
    assert (beat.device_id, readings.readings[0].device_id) == (device.pk, device.pk)
    assert readings.readings[0].metrics == b'{"a":1}'


def test_devices_of_a_tenant_and_of_another_do_not_mix(acme: Fleet, rival: Fleet) -> None:
    outcome = accept(telemetry("acme-phone", {"metrics": {"a": 1}}, tenant="rival"))

    assert (outcome.accepted, codes(outcome)) == (0, ["unknown_device"])
    assert waiting() == []


def test_nothing_of_an_inactive_tenant_is_accepted(acme: Fleet) -> None:
    Tenant.objects.update(is_active=False)

    outcome = accept(telemetry("acme-phone", {"metrics": {"a": 1}}), heartbeat("acme-phone", {}))

    assert (outcome.accepted, codes(outcome)) == (0, ["unknown_tenant"] * 2)


@pytest.mark.parametrize("policy", [Registration.ON, Registration.PENDING])
def test_unknown_devices_register_where_their_tenant_wants_it(
    acme: Fleet, policy: Registration
) -> None:
    Tenant.objects.update(registration=policy)

    outcome = accept(
        heartbeat("new-1", {}),
        telemetry("new-2", {"metrics": {"a": 1}}),
        telemetry("new-3", b"not JSON"),
        telemetry("no device ID", {"metrics": {"a": 1}}),
    )

    assert (outcome.accepted, sorted(codes(outcome))) == (2, ["invalid", "unknown_device"])
    new = Device.objects.filter(device_id__startswith="new").order_by("device_id")
    assert [device.device_id for device in new] == ["new-1", "new-2"]
    assert {device.is_pending for device in new} == {policy == Registration.PENDING}
    assert {entry.is_pending for entry in waiting()} == {policy == Registration.PENDING}


@pytest.mark.django_db(transaction=True)
def test_only_what_nobody_can_tell_the_sender_of_waits_while_the_database_is_unavailable(
    acme: Fleet, rival: Fleet, clock: list[float]
) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="unseen")
    tenants = TenantCache()
    known = [telemetry("acme-phone", {"metrics": {"a": 1}}), heartbeat("acme-phone", {})]
    assert batch_accept(messages=known, tenants=tenants).accepted == 2
    batch = [
        telemetry("unseen", {"metrics": {"a": 1}}),
        telemetry("acme-phone", {"metrics": {"a": 2}}, after_ms=1),
        heartbeat("rival-phone", {}, tenant="rival"),
        heartbeat("unseen", {}),
        heartbeat("acme-phone", {}),
        telemetry("acme-phone", b"not JSON"),
    ]
    clock[0] += 60

    with database_unavailable():
        for _ in range(3):
            outcome = batch_accept(messages=batch, tenants=tenants)
            assert (outcome.accepted, codes(outcome)) == (2, ["invalid"])
            assert sorted(outcome.waiting) == [0, 2, 3]

    clock[0] += 60
    again = [batch[n] for n in outcome.waiting]
    assert batch_accept(messages=again, tenants=tenants) == BatchOutcome(3, [])
    assert sum(entry.count for entry in waiting()) == 2 + 3 * 2 + 3


@pytest.mark.django_db(transaction=True)
def test_a_batch_asks_for_unseen_devices_once_while_the_database_is_unavailable(
    acme: Fleet, rival: Fleet
) -> None:
    """Each query may take as long as its time-out."""
    tenants = TenantCache()
    asked = 0

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return execute(*arguments)

    batch = [heartbeat(f"d{n}", {}, tenant=slug) for n in range(3) for slug in ("acme", "rival")]
    with connection.execute_wrapper(count), database_unavailable():
        for _ in range(5):
            assert len(batch_accept(messages=batch, tenants=tenants).waiting) == 6

    assert asked == 1


def test_a_full_stream_takes_nothing_of_a_batch(acme: Fleet, settings: Any) -> None:
    messages = [telemetry("acme-phone", {"metrics": {"a": 1}}), heartbeat("acme-phone", {})]
    settings.INGEST_SHARD_MAX_BYTES = 0

    with pytest.raises(shards.StreamFull):
        accept(*messages)

    assert waiting() == []
    assert shards.waiting_counts(0) == {}


def test_as_many_heartbeats_as_a_bridge_appends_at_once_are_appended(acme: Fleet) -> None:
    outcome = accept(*(heartbeat("acme-phone", {"battery_pct": 1}) for _ in range(BATCH_MESSAGES)))

    assert outcome == BatchOutcome(BATCH_MESSAGES, [])
    assert len(waiting()) == BATCH_MESSAGES
