"""Heartbeats and readings that are stored together."""

import pytest
from django.db import transaction

from devices.models import Device
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import statuses_move
from telemetry.storage.heartbeats import heartbeats_insert
from telemetry.storage.readings import readings_insert
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import T0, after, status, sweep_until, transitions
from tests.telemetry.storing import became, device_lock, heartbeats_store, readings_store
from tests.two_at_once import elsewhere


def test_a_reading_that_waited_while_a_later_heartbeat_was_stored_brings_nobody_back(
    heard: Device,
) -> None:
    sweep_until(200)

    before = after(-5)
    metrics = b'{"temp_c": 21.5}'
    waited = IncomingReading(
        heard.pk, heard.tenant_id, before, before, None, "telemetry", None, metrics
    )
    readings_store(readings=[waited])

    assert (status(heard).state, status(heard).last_seen) == ("offline", T0)
    assert status(heard).metrics == {"temp_c": 21.5}
    assert transitions(heard)[-1] == ("late", "offline")


def test_a_heartbeat_that_waited_while_a_later_reading_was_stored_is_the_latest_of_its_kind(
    heard: Device,
) -> None:
    at = after(20)
    later = IncomingReading(heard.pk, heard.tenant_id, at, at, None, "telemetry", None, b"{}")
    readings_store(readings=[later])

    heartbeats_store(heartbeats=[heartbeat(heard, after(10), battery_pct=33, version="2")])
    heartbeats_store(heartbeats=[heartbeat(heard, after(0.5), battery_pct=99, version="1")])

    told = status(heard)
    assert (told.battery_pct, told.version, told.last_heartbeat_at) == (33, "2", after(10))
    assert (told.last_seen, told.state_since) == (at, T0)


@pytest.mark.django_db(transaction=True)
def test_heartbeats_and_readings_of_one_batch_are_one_return_and_lock_nobody_before(
    acme: Fleet,
) -> None:
    def beat(seconds: int) -> IncomingHeartbeat:
        return heartbeat(acme.device, after(seconds), address="10.0.0.7")

    def measured(seconds: int) -> IncomingReading:
        ids, at = (acme.device.pk, acme.tenant.pk), after(seconds)
        return IncomingReading(*ids, at, at, None, "telemetry", None, b'{"temp_c": %d}' % seconds)

    # A transaction that creates a chunk blocks others from it until the commit.
    heartbeats_insert([beat(-60)])
    readings_insert([measured(-60)])
    with transaction.atomic():
        assert became(heartbeats_insert([beat(1)])) == became(readings_insert([measured(2)])) == {}
        elsewhere(lambda: device_lock(acme.device.pk))
        statuses_move(heartbeats=[beat(1)], readings=[measured(2)])

    assert transitions(acme.device) == [("new", "online")]
    latest = status(acme.device)
    assert (latest.last_seen, latest.metrics) == (after(2), {"temp_c": 2})
    assert latest.reason == "first heartbeat, from 10.0.0.7"
