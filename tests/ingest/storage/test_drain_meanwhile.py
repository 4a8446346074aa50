"""Changes by others while entries are drained."""

from functools import partial

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from devices.fleet.registration import devices_approve
from devices.models import Device
from ingest.ledger.balances import balance_read, shards_known
from ingest.models import LedgerMinute, RejectedMessage
from ingest.storage.replay import rejected_replay
from ingest.stream import shards
from ingest.stream.entries import HeartbeatEntry
from telemetry.locks import NAMESPACE, AdvisoryLock
from telemetry.models import DeviceStatus, Heartbeat, Reading
from tests.conftest import Fleet
from tests.ingest.storage.draining import append, drain, ledger, moment, reading
from tests.services import endpoints
from tests.telemetry.storing import device_lock
from tests.two_at_once import after_waiting_for, against, at_once

pytestmark = pytest.mark.usefixtures("valkey")


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_was_rolled_back_for_another_transaction_is_stored_once_more(
    acme: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    other = Device.objects.create(tenant=acme.tenant, device_id="other")
    append(acme, reading(acme.device), reading(other))
    shards.append(HeartbeatEntry(acme.tenant.pk, moment(), "10.0.0.7", acme.device.pk))

    against(
        drain,
        first=partial(device_lock, acme.device.pk),
        second=partial(device_lock, other.pk),
    )

    assert "storing a batch again" in caplog.text
    assert Reading.objects.count() == 2
    assert Heartbeat.objects.count() == 1
    assert balance_read().residual == 0
    assert ledger(acme)["stored"] == 3


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_stored_once_more_when_a_tenant_was_deleted_meanwhile(
    acme: Fleet, rival: Fleet
) -> None:
    append(acme, reading(acme.device))
    append(rival, reading(rival.device))
    acme.device.delete()

    assert after_waiting_for(acme.tenant.delete, drain) is not None

    assert Reading.objects.filter(device=rival.device).count() == 1
    assert not RejectedMessage.objects.exists()
    assert not LedgerMinute.objects.exclude(tenant=rival.tenant).exists()
    assert shards.oldest_waiting_at(shards_known()) is None
    assert balance_read().residual == 0


@pytest.mark.django_db(transaction=True)
def test_devices_are_deleted_while_their_messages_are_stored_and_replayed(acme: Fleet) -> None:
    kept: list[int] = []
    for n in range(10):
        devices = [
            Device.objects.create(tenant=acme.tenant, device_id=f"d{n}-{m}", is_pending=m % 2 == 1)
            for m in range(8)
        ]
        append(acme, *map(reading, devices), is_pending=True)
        drain()
        append(acme, *(reading(device, 1) for device in devices), is_pending=True)
        held = RejectedMessage.objects.filter(replayed_at=None).values_list("id", flat=True)
        devices_approve(ids=[device.pk for device in devices])
        replay = partial(rejected_replay, ids=list(held), by="tester", ts=timezone.now())
        at_once(drain, replay, *(device.delete for device in devices[:4]))
        kept += (device.pk for device in devices[4:])

    assert Reading.objects.filter(device_id__in=kept).count() == 2 * len(kept)
    assert not DeviceStatus.objects.exclude(device_id__in=(*kept, acme.device.pk)).exists()
    assert shards.oldest_waiting_at(shards_known()) is None
    assert ledger(acme)["accepted"] == 160
    assert balance_read().residual == balance_read().in_flight == 0


def test_one_drain_holds_a_shard_at_a_time(acme: Fleet) -> None:
    name = connection.settings_dict["NAME"]
    with psycopg.connect(endpoints.database_url, dbname=name) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, AdvisoryLock.DRAIN))
        assert drain() is None


def test_a_shard_has_one_line_of_drains(acme: Fleet) -> None:
    first = drain()
    assert first is not None
    started_by_beat = drain()
    assert started_by_beat is not None

    assert drain(turn=first) is None
    assert drain(turn=started_by_beat) is not None
