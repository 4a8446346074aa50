from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from devices.models import Device
from telemetry.models import DeviceStatus, Heartbeat, PresenceEvent
from telemetry.presence.pausing import presence_pause
from telemetry.signals import statuses_changed
from telemetry.statuses import StatusChange
from telemetry.storage.batches import InsertOutcome, statuses_move
from telemetry.storage.heartbeats import heartbeats_insert
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store
from tests.two_at_once import at_once, elsewhere

T0 = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def status(device: Device) -> DeviceStatus:
    return DeviceStatus.objects.get(device=device)


def test_every_device_has_a_status_row_from_the_start(acme: Fleet) -> None:
    own = Device.objects.create(tenant=acme.tenant, device_id="own", expected_interval_s=5)

    assert status(acme.device).state == "new"
    assert (status(acme.device).interval_s, status(acme.device).grace_s) == (60, 30)
    assert (status(own).interval_s, status(own).grace_s) == (5, 30)


def test_first_heartbeat_brings_a_device_online_with_its_reason(acme: Fleet) -> None:
    heartbeats_store(
        heartbeats=[heartbeat(acme.device, T0, address="10.0.0.7", battery_pct=12, version="2")]
    )

    latest = status(acme.device)
    assert (latest.state, latest.state_since, latest.last_seen) == ("online", T0, T0)
    assert latest.late_at == after(90)
    assert latest.reason == "first heartbeat, from 10.0.0.7, battery 12 %"
    event = PresenceEvent.objects.get(device=acme.device)
    assert (event.previous_state, event.state, event.time) == ("new", "online", T0)
    assert event.tenant_id == acme.tenant.pk
    stored = Heartbeat.objects.get(pk=(acme.device.pk, T0))
    assert (stored.battery_pct, stored.version, stored.received_at) == (12, "2", T0)


def test_a_retry_within_ten_seconds_is_stored_once(acme: Fleet) -> None:
    sent = after(3)
    first = heartbeats_store(heartbeats=[heartbeat(acme.device, after(4), time=sent)] * 2)
    again = heartbeats_store(heartbeats=[heartbeat(acme.device, after(30), time=sent)])
    next_bucket = heartbeats_store(heartbeats=[heartbeat(acme.device, after(31), time=after(10))])

    assert first == InsertOutcome(stored=1, duplicates=[1], unknown=[])
    assert again == InsertOutcome(stored=0, duplicates=[0], unknown=[])
    assert next_bucket.stored == 1
    assert Heartbeat.objects.filter(device=acme.device).count() == 2


def test_storing_a_batch_twice_changes_nothing(acme: Fleet, rival: Fleet) -> None:
    batch = [
        heartbeat(fleet.device, after(20 * n), battery_pct=n)
        for n in range(5)
        for fleet in (acme, rival)
    ]
    heartbeats_store(heartbeats=batch)
    before = list(DeviceStatus.objects.order_by("device").values())

    again = heartbeats_store(heartbeats=batch)

    assert again == InsertOutcome(stored=0, duplicates=list(range(10)), unknown=[])
    assert list(DeviceStatus.objects.order_by("device").values()) == before
    assert PresenceEvent.objects.count() == 2


def test_status_moves_only_forward_and_keeps_the_last_known_values(acme: Fleet) -> None:
    heartbeats_store(heartbeats=[heartbeat(acme.device, after(60), battery_pct=50)])
    heartbeats_store(heartbeats=[heartbeat(acme.device, after(120), rssi_dbm=-70)])
    heartbeats_store(heartbeats=[heartbeat(acme.device, after(90), battery_pct=99)])

    latest = status(acme.device)
    assert latest.last_seen == after(120)
    assert (latest.battery_pct, latest.rssi_dbm) == (50, -70)


def test_values_of_one_batch_are_kept_as_those_of_several_are(acme: Fleet) -> None:
    heartbeats_store(
        heartbeats=[
            heartbeat(acme.device, after(120), rssi_dbm=-70),
            heartbeat(acme.device, after(60), battery_pct=50, rssi_dbm=-90, version="2.0"),
            heartbeat(acme.device, after(30), battery_pct=51, address="10.0.0.7"),
            heartbeat(acme.device, after(110), time=after(-3600), uptime_s=7.0, version="1.0"),
        ]
    )

    latest = status(acme.device)
    assert latest.last_seen == after(120)
    assert (latest.battery_pct, latest.rssi_dbm, latest.version) == (50, -70, "2.0")
    assert (latest.address, latest.uptime_s) == ("10.0.0.7", None)


def test_the_clock_of_one_batch_is_known_as_that_of_several_is(acme: Fleet) -> None:
    ahead = [
        heartbeat(acme.device, after(60), time=after(60 + 600), version="2.0"),
        heartbeat(acme.device, after(120), time=after(120 + 3600), battery_pct=50),
    ]
    heartbeats_store(heartbeats=ahead)
    latest = status(acme.device)
    assert (latest.version, latest.battery_pct, latest.clock_skew_s) == ("2.0", 50, 3600)

    silent_of_time = heartbeat(acme.device, after(180), rssi_dbm=-70)
    told = heartbeat(acme.device, after(150), time=after(150 - 3))
    heartbeats_store(heartbeats=[silent_of_time, told])
    latest = status(acme.device)
    assert (latest.last_seen, latest.rssi_dbm, latest.clock_skew_s) == (after(180), -70, -3)


def test_an_old_heartbeat_is_stored_and_revives_nobody(acme: Fleet) -> None:
    old = [heartbeat(acme.device, after(n), time=after(-3600 + 60 * n)) for n in range(20)]

    stored = heartbeats_store(heartbeats=old)

    assert stored.stored == 20
    assert status(acme.device).state == "new"
    assert not PresenceEvent.objects.filter(device=acme.device).exists()


def test_old_heartbeats_among_new_ones_do_not_hide_them(acme: Fleet) -> None:
    heartbeats_store(
        heartbeats=[
            heartbeat(acme.device, after(1), time=after(1)),
            heartbeat(acme.device, after(2), time=after(-7200)),
        ]
    )

    assert status(acme.device).last_seen == after(1)


@pytest.mark.parametrize("ahead_s", [3600, 80_000])
def test_a_clock_that_is_ahead_is_measured_at_once(acme: Fleet, ahead_s: int) -> None:
    heartbeats_store(heartbeats=[heartbeat(acme.device, T0, time=after(ahead_s))])

    latest = status(acme.device)
    assert (latest.state, latest.last_seen, latest.clock_skew_s) == ("online", T0, ahead_s)
    assert "clock is" in latest.reason and "ahead" in latest.reason


def test_a_clock_that_is_behind_is_recognised_at_the_second_heartbeat(acme: Fleet) -> None:
    behind = timedelta(hours=3)
    first, second = T0, after(60)
    heartbeats_store(heartbeats=[heartbeat(acme.device, first, time=first - behind)])
    assert status(acme.device).state == "new"

    heartbeats_store(heartbeats=[heartbeat(acme.device, second, time=second - behind)])

    latest = status(acme.device)
    assert (latest.state, latest.last_seen, latest.clock_skew_s) == ("online", second, -10_800)
    assert latest.reason == "first heartbeat; its clock is 3 h behind"
    third = after(120)
    heartbeats_store(heartbeats=[heartbeat(acme.device, third, time=third - behind)])
    assert status(acme.device).last_seen == third


def test_a_clock_that_was_set_right_is_believed(acme: Fleet) -> None:
    for n, skew in enumerate((7200, 0, -7200, -7200, 0)):
        seen = after(60 * n)
        beat = heartbeat(acme.device, seen, time=seen + timedelta(seconds=skew))
        heartbeats_store(heartbeats=[beat])

    assert status(acme.device).clock_skew_s == 0
    assert status(acme.device).last_seen == after(240)


def test_a_backlog_is_not_taken_for_a_wrong_clock(acme: Fleet) -> None:
    for n in range(10):
        beat = heartbeat(acme.device, after(6 * n), time=after(-86_400 + 60 * n))
        heartbeats_store(heartbeats=[beat])

    assert status(acme.device).state == "new"


def test_a_paused_device_stays_paused_and_its_heartbeats_are_stored(acme: Fleet) -> None:
    presence_pause(device_ids=[acme.device.pk], by="ann", why="on the bench", ts=T0)

    stored = heartbeats_store(heartbeats=[heartbeat(acme.device, after(5))])

    assert stored.stored == 1
    latest = status(acme.device)
    assert (latest.state, latest.reason) == ("paused", "paused by ann: on the bench")
    assert latest.last_seen == after(5)


def test_heartbeats_of_a_deleted_device_are_counted_and_the_others_stored(
    acme: Fleet, rival: Fleet
) -> None:
    gone = heartbeat(rival.device, T0)
    rival.device.delete()

    stored = heartbeats_store(heartbeats=[gone, heartbeat(acme.device, T0)])

    assert stored == InsertOutcome(stored=1, duplicates=[], unknown=[0])


@pytest.mark.django_db(transaction=True)
def test_who_store_the_same_in_different_orders_do_not_wait_for_each_other_for_ever(
    acme: Fleet,
) -> None:
    devices = [acme.device] + [
        Device.objects.create(tenant=acme.tenant, device_id=f"phone-{n}") for n in range(100)
    ]
    for n in range(10):
        beats = [
            heartbeat(device, T0 + timedelta(minutes=10 * n + m))
            for m in range(10)
            for device in devices
        ]
        outcomes = at_once(
            partial(heartbeats_store, heartbeats=beats),
            partial(heartbeats_store, heartbeats=beats[::-1]),
        )
        assert sum(outcome.stored for outcome in outcomes) == len(beats)


@pytest.mark.django_db(transaction=True)
def test_a_device_is_locked_only_once_the_batch_is_inserted(acme: Fleet) -> None:
    """Batches of two shards are inserted in parallel, whatever devices they share."""
    # A transaction that creates a chunk blocks others from it until the commit.
    heartbeats_store(heartbeats=[heartbeat(acme.device, after(-60))])
    first, later = heartbeat(acme.device, T0), heartbeat(acme.device, after(60))
    with transaction.atomic():
        outcome = heartbeats_insert([first])
        other = elsewhere(lambda: heartbeats_store(heartbeats=[later]))
        statuses_move(heartbeats=[first])

    assert outcome.stored == other.stored == 1
    assert DeviceStatus.objects.get(device=acme.device).last_seen == after(60)


@pytest.mark.django_db(transaction=True)
def test_changes_are_announced_on_commit_and_not_before(acme: Fleet) -> None:
    heard: list[StatusChange] = []

    def listen(sender: object, *, changes: list[StatusChange], **kwargs: object) -> None:
        heard.extend(changes)

    statuses_changed.connect(listen)
    try:
        with transaction.atomic():
            heartbeats_store(heartbeats=[heartbeat(acme.device, T0, battery_pct=5)])
            assert heard == []
    finally:
        statuses_changed.disconnect(listen)

    (change,) = heard
    assert (change.device_id, change.state, change.battery_pct) == (acme.device.pk, "online", 5)
    assert change.tenant_id == acme.tenant.pk


def test_a_wrong_clock_is_recognised_though_its_device_speaks_often(acme: Fleet) -> None:
    behind = timedelta(hours=3)
    for n in range(5):
        seen = after(2 * n)
        heartbeats_store(heartbeats=[heartbeat(acme.device, seen, time=seen - behind)])

    assert status(acme.device).state == "online"


def test_a_time_ahead_does_not_hide_a_later_heartbeat_of_the_batch(acme: Fleet) -> None:
    heartbeats_store(
        heartbeats=[
            heartbeat(acme.device, T0, time=after(3600)),
            heartbeat(acme.device, after(60)),
        ]
    )

    assert status(acme.device).last_seen == after(60)
