"""Messages that were held until somebody approved their device."""

import json

import pytest
from django.utils import timezone

from devices.fleet.registration import devices_approve
from devices.models import Device
from ingest import tasks
from ingest.ledger.balances import balance_read
from ingest.messages.heartbeat import MAX_FIELDS, heartbeat_decode
from ingest.models import RejectedMessage
from ingest.storage.replay import (
    ReplayOutcome,
    approved_replay,
)
from ingest.stream import shards
from ingest.stream.entries import heartbeat_entry
from telemetry.models import DeviceStatus, Heartbeat, PresenceEvent, Reading
from telemetry.presence.sweep import presence_sweep
from tests.conftest import Fleet
from tests.ingest.storage.replaying import held, replay
from tests.ingest.way import (
    append_heartbeat,
    drain,
    ledger,
    now,
)

pytestmark = pytest.mark.usefixtures("valkey")


def test_what_was_held_is_stored_once_its_device_is_approved(acme: Fleet, rival: Fleet) -> None:
    held(acme, 20, 10)
    held(rival, 10)
    append_heartbeat(acme.device, now(), is_pending=True)
    drain()
    assert approved_replay(ts=timezone.now()) == ReplayOutcome()

    assert devices_approve(ids=[acme.device.pk]) == 1
    assert devices_approve(ids=[acme.device.pk]) == 0
    tasks.approved_replay()

    assert Reading.objects.filter(device=acme.device).count() == 2
    assert Heartbeat.objects.filter(device=acme.device).count() == 1
    assert DeviceStatus.objects.get(device=acme.device).state == "online"
    assert set(
        RejectedMessage.objects.filter(tenant=acme.tenant).values_list("replayed_by", flat=True)
    ) == {"approval"}
    assert not Reading.objects.filter(device=rival.device).exists()
    assert ledger(acme) == {"accepted": 3, "stored": 3, "replayed": 3}
    assert ledger(rival) == {"accepted": 1, "rejected": 1}
    assert balance_read().residual == 0


@pytest.mark.parametrize("by_person", [False, True])
def test_an_approved_device_was_heard_when_its_old_messages_came(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch, by_person: bool
) -> None:
    """However many transactions replay them, the device was last seen when they say."""
    monkeypatch.setattr("ingest.storage.replay.AT_ONCE", 1)
    messages = held(acme, 7200, 3600)
    devices_approve(ids=[acme.device.pk])

    if by_person:
        replay(*messages)
    else:
        approved_replay(ts=timezone.now())
    ts = timezone.now()
    presence_sweep(ts=ts, heard_until=ts)

    status = DeviceStatus.objects.get(device=acme.device)
    assert status.last_seen == messages[-1].received_at
    assert status.state == "offline"
    assert status.reason.startswith("no message for 1 h")
    states = PresenceEvent.objects.filter(device=acme.device).order_by("time")
    assert list(states.values_list("state", flat=True)) == ["online", "offline"]


def test_a_held_heartbeat_with_as_many_fields_as_there_may_be_is_stored(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    sent = json.dumps({"battery_pct": 71.5} | {f"v{n}": n for n in range(MAX_FIELDS - 1)})
    shards.append(
        heartbeat_entry(
            message=heartbeat_decode(sent.encode(), received_at=now()),
            tenant_id=acme.tenant.pk,
            device_id=acme.device.pk,
            received_at=now(),
            is_pending=True,
        )
    )
    drain()
    (message,) = RejectedMessage.objects.filter(tenant=acme.tenant)

    devices_approve(ids=[acme.device.pk])
    outcome = replay(message)

    assert outcome.errors == ()
    heartbeat = Heartbeat.objects.get(device=acme.device)
    assert heartbeat.battery_pct == 71.5
    assert heartbeat.vitals == {f"v{n}": n for n in range(MAX_FIELDS - 1)}


def test_nobody_replays_past_the_approval(acme: Fleet) -> None:
    (message,) = held(acme, 10)

    outcome = replay(message)

    assert outcome.rejected == 1
    assert outcome.errors == ("the device registered itself and is not approved yet",)
    assert not Reading.objects.exists()


def test_what_a_deleted_pending_device_sent_stays_rejected(acme: Fleet) -> None:
    (message,) = held(acme, 10)
    acme.device.delete()

    assert approved_replay(ts=timezone.now()) == ReplayOutcome()

    message.refresh_from_db()
    assert '"device_id":"acme-phone"' in message.payload
    assert balance_read().residual == 0
