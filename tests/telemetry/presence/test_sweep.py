import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction

from devices.fleet.keys import credential_issue, credentials_issue, credentials_revoke
from devices.models import Device
from telemetry.locks import AdvisoryLock, try_lock_in_transaction
from telemetry.models import DeviceStatus, PresenceEvent, PresenceSweep
from telemetry.presence.listening import Unheard
from telemetry.presence.pausing import presence_pause, presence_resume
from telemetry.presence.sweep import SweepResult, presence_sweep
from telemetry.sql import devicestatus
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import statuses_move
from telemetry.storage.heartbeats import heartbeats_insert
from telemetry.storage.readings import readings_insert
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import device_lock, heartbeats_store, readings_store
from tests.two_at_once import elsewhere

T0 = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def sweep(seconds: float) -> SweepResult:
    return presence_sweep(ts=after(seconds), heard_until=after(seconds))


def sweep_until(seconds: int) -> None:
    """As beat does: every 10 s."""
    for moment in range(0, seconds + 1, 10):
        sweep(moment)


def status(device: Device) -> DeviceStatus:
    return DeviceStatus.objects.get(device=device)


def transitions(device: Device) -> list[tuple[str, str]]:
    events = PresenceEvent.objects.filter(device=device).order_by("time")
    return [(event.previous_state, event.state) for event in events]


@pytest.fixture
def heard(acme: Fleet) -> Device:
    """A device last heard at T0, expected every 60 s with 30 s grace."""
    beat = heartbeat(acme.device, T0, address="10.0.0.7", battery_pct=12)
    heartbeats_store(heartbeats=[beat])
    return acme.device


def test_a_silent_device_turns_late_then_offline_with_the_reason(heard: Device) -> None:
    sweep_until(80)
    assert status(heard).state == "online"

    sweep(90)
    assert (status(heard).state, status(heard).state_since) == ("late", after(90))
    for moment in range(100, 200, 10):
        sweep(moment)

    assert status(heard).state == "offline"
    assert status(heard).reason == (
        "no message for 3 min, one expected every 60 s with 30 s grace; "
        "last from 10.0.0.7, battery 12 %"
    )
    assert transitions(heard) == [("new", "online"), ("online", "late"), ("late", "offline")]


def test_a_device_without_a_key_in_force_is_silent_for_that_reason(heard: Device) -> None:
    (key,) = heard.credentials.all()
    other = credential_issue(device=heard, label="other").credential
    credentials_revoke(ids=[key.pk], ts=after(20))
    sweep(90)
    assert status(heard).state == "late"
    assert "key" not in status(heard).reason

    credentials_revoke(ids=[other.pk], ts=after(120))
    for moment in range(100, 200, 10):
        sweep(moment)
    assert status(heard).state == "offline"
    assert status(heard).reason.endswith("battery 12 %; its key was revoked 60 s before")


def test_a_heartbeat_brings_it_back_with_how_long_it_was_silent(heard: Device) -> None:
    sweep_until(200)

    heartbeats_store(heartbeats=[heartbeat(heard, after(250))])

    assert status(heard).state == "online"
    assert status(heard).reason.startswith("heartbeat after 4 min 10 s of silence")
    assert transitions(heard)[-1] == ("offline", "online")


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


def test_a_device_that_sends_readings_alone_is_there_by_its_first_one(acme: Fleet) -> None:
    measured = IncomingReading(
        acme.device.pk, acme.tenant.pk, T0, T0, None, "telemetry", None, b'{"temp_c": 21.5}'
    )

    readings_store(readings=[measured])

    assert (status(acme.device).state, status(acme.device).reason) == ("online", "first reading")


@pytest.mark.django_db(transaction=True)
def test_heartbeats_and_readings_of_one_batch_are_one_return_and_lock_nobody_before(
    acme: Fleet,
) -> None:
    def beat(seconds: int) -> IncomingHeartbeat:
        return heartbeat(acme.device, after(seconds), address="10.0.0.7")

    def measured(seconds: int) -> IncomingReading:
        ids, at = (acme.device.pk, acme.tenant.pk), after(seconds)
        return IncomingReading(*ids, at, at, None, "telemetry", None, b'{"temp_c": %d}' % seconds)

    # Who makes a chunk lets nobody else into it before the commit.
    heartbeats_insert([beat(-60)])
    readings_insert([measured(-60)])
    with transaction.atomic():
        assert heartbeats_insert([beat(1)]).stored == readings_insert([measured(2)]).stored == 1
        elsewhere(lambda: device_lock(acme.device.pk))
        statuses_move(heartbeats=[beat(1)], readings=[measured(2)])

    assert transitions(acme.device) == [("new", "online")]
    latest = status(acme.device)
    assert (latest.last_seen, latest.metrics) == (after(2), {"temp_c": 2})
    assert latest.reason == "first heartbeat, from 10.0.0.7"


def test_a_sweep_says_each_thing_once(heard: Device) -> None:
    sweep_until(80)
    assert sweep(100) == SweepResult(1, 0)
    assert sweep(101) == SweepResult(0, 0)


def test_a_device_is_not_silent_while_its_heartbeat_waits_in_the_stream(heard: Device) -> None:
    sweep_until(80)

    result = presence_sweep(ts=after(120), heard_until=after(85))

    assert result.late == 0
    assert status(heard).state == "online"


def test_new_devices_are_never_called_late(acme: Fleet) -> None:
    sweep_until(500)

    assert status(acme.device).state == "new"


def test_time_in_which_nobody_listened_does_not_count(heard: Device) -> None:
    sweep_until(30)

    sweep(630)

    assert status(heard).state == "online"
    for moment in range(640, 691, 10):
        sweep(moment)
    latest = status(heard)
    assert latest.state == "late"
    assert (
        "for 11 min 30 s (10 min of it not counted: it was paused, or this portal was not "
        "listening), one expected" in latest.reason
    )


def judged_late_at(device: Device, *away: tuple[float, float], until: int) -> float:
    """After how many seconds from T0 it is called late, by a sweep of each 10 s, if no server
    listened in these times."""
    for moment in range(0, until, 10):
        over = [one for one in away if one[1] <= moment]
        unheard = Unheard(after(over[-1][0]), after(over[-1][1])) if over else None
        heard_until = min([moment, *(one[0] for one in away if one[0] < moment < one[1])])
        presence_sweep(ts=after(moment), heard_until=after(heard_until), unheard=unheard)
        if status(device).state == "late":
            return moment
    raise AssertionError(f"not late within {until} s")


def test_for_each_message_that_fell_into_a_stop_it_has_an_interval_more(heard: Device) -> None:
    # 60 and 120 could not be heard.
    assert judged_late_at(heard, (55, 130), until=300) == 90 + 2 * 60
    assert "(2 min of it not counted: it was paused, or this portal" in status(heard).reason


def test_stops_in_which_nothing_was_expected_excuse_nobody(heard: Device) -> None:
    assert judged_late_at(heard, (5, 29), (31, 58), until=300) == 90


def test_a_message_that_may_have_fallen_into_several_stops_is_excused_once(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(expected_interval_s=60, grace_s=600)
    heartbeats_store(heartbeats=[heartbeat(acme.device, T0)])

    stops = [(start, start + 5) for start in range(100, 1000, 100)]
    # The last begins at 900, in which 900 at the latest was expected; all before were, too.
    assert judged_late_at(acme.device, *stops, until=2000) == 660 + 15 * 60


def test_a_stop_of_the_worker_hides_none_of_the_servers_that_began_before(heard: Device) -> None:
    sweep_until(30)
    for moment in (80, 130):
        presence_sweep(ts=after(moment), heard_until=after(40))

    away = Unheard(after(40), after(290))
    presence_sweep(ts=after(300), heard_until=after(299), unheard=away)
    sweep(350)
    sweep(389)
    assert status(heard).state == "online"
    sweep(390)
    assert status(heard).state == "late"


def test_what_was_accepted_before_a_stop_and_stored_after_it_is_excused_too(heard: Device) -> None:
    sweep_until(30)
    away = Unheard(after(95), after(155))
    presence_sweep(ts=after(156), heard_until=after(59), unheard=away)

    heartbeats_store(heartbeats=[heartbeat(heard, after(60))])
    sweep(160)
    sweep(209)
    assert status(heard).state == "online"
    sweep(210)
    assert status(heard).state == "late"


def test_a_device_that_was_given_no_interval_stops_no_sweep(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(expected_interval_s=0, grace_s=30)
    heartbeats_store(heartbeats=[heartbeat(acme.device, T0)])

    assert judged_late_at(acme.device, (20, 50), until=300) == 30 + 50


def test_a_late_device_is_not_called_offline_for_what_nobody_heard(heard: Device) -> None:
    sweep_until(90)
    away = Unheard(after(100), after(125))

    presence_sweep(ts=after(130), heard_until=after(130), unheard=away)
    for moment in range(140, 240, 10):
        sweep(moment)
    assert status(heard).state == "late"
    sweep(240)

    assert status(heard).state == "offline"
    assert transitions(heard) == [("new", "online"), ("online", "late"), ("late", "offline")]


def test_a_stop_before_a_device_was_resumed_excuses_nothing_more(heard: Device) -> None:
    sweep_until(30)
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(40))
    away = Unheard(after(50), after(80))
    presence_sweep(ts=after(85), heard_until=after(85), unheard=away)
    presence_resume(device_ids=[heard.pk], by="ann", ts=after(150))

    for moment in range(150, 330, 10):
        sweep(moment)
    assert status(heard).state == "late"
    sweep(330)
    assert status(heard).state == "offline"


@pytest.mark.parametrize("interval_s", [7, 60, 86_400])
@pytest.mark.parametrize("grace_s", [1, 30, 100])
@pytest.mark.parametrize("away_s", [3, 8, 55])
def test_a_device_that_speaks_when_it_should_is_not_late_for_what_nobody_heard(
    acme: Fleet, interval_s: int, grace_s: int, away_s: int
) -> None:
    """And one that spoke no more from then on is called late, in its time."""
    silent = Device.objects.create(tenant=acme.tenant, device_id="silent")
    times = {"expected_interval_s": interval_s, "grace_s": grace_s}
    Device.objects.filter(tenant=acme.tenant).update(**times)
    last = after(interval_s)
    heartbeats_store(heartbeats=[heartbeat(acme.device, last), heartbeat(silent, last)])
    start = 2 * interval_s - away_s // 2
    away = Unheard(after(start), after(start + away_s))

    def judge(ts: datetime) -> SweepResult:
        """Right after another sweep, so that nothing is excused but `away`."""
        PresenceSweep.objects.update_or_create(defaults={"swept_at": ts})
        return presence_sweep(ts=ts, heard_until=ts, unheard=away if ts == away.until else None)

    judge(away.until)
    missed = 1 + (away_s - away_s // 2) // interval_s
    next_at = after((2 + missed) * interval_s)
    for ts in (next_at - timedelta(seconds=1), next_at + timedelta(seconds=grace_s - 0.5)):
        judge(ts)
        heartbeats_store(heartbeats=[heartbeat(acme.device, next_at)])

    assert status(acme.device).state == status(silent).state == "online"
    assert judge(next_at + timedelta(seconds=grace_s)).late == 1
    assert transitions(acme.device) == [("new", "online")]
    assert transitions(silent) == [("new", "online"), ("online", "late")]


def test_a_paused_device_is_not_judged_until_it_is_resumed(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="moving house", ts=after(10))
    sweep_until(500)
    assert (status(heard).state, status(heard).reason) == ("paused", "paused by ann: moving house")

    presence_resume(device_ids=[heard.pk], by="bob", ts=after(500))
    assert status(heard).state == "late"
    assert status(heard).reason.startswith("resumed by bob; waiting for a message")
    for moment in range(510, 681, 10):
        sweep(moment)

    assert status(heard).state == "offline"
    assert "(8 min 20 s of it not counted: it was paused, or" in status(heard).reason
    assert [state for _, state in transitions(heard)] == ["online", "paused", "late", "offline"]


def test_a_resumed_device_that_was_heard_meanwhile_is_online(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10))
    heartbeats_store(heartbeats=[heartbeat(heard, after(300))])

    presence_resume(device_ids=[heard.pk], by="bob", ts=after(301))

    assert status(heard).state == "online"
    assert status(heard).reason == "resumed by bob; heard 1 s before"
    for moment in range(310, 401, 10):
        sweep(moment)
    assert status(heard).state == "late"


def test_pausing_and_resuming_again_change_nothing(heard: Device) -> None:
    assert presence_resume(device_ids=[heard.pk], by="ann", ts=after(1)) == 0
    assert presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(2)) == 1
    assert presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(3)) == 0

    assert status(heard).reason == "paused by ann"


def test_a_resumed_device_that_was_never_heard_is_new_again(acme: Fleet) -> None:
    presence_pause(device_ids=[acme.device.pk], by="ann", why="", ts=T0)
    presence_resume(device_ids=[acme.device.pk], by="ann", ts=after(5))

    assert status(acme.device).state == "new"


def test_finding_the_silent_reads_no_history_and_no_whole_table(acme: Fleet) -> None:
    devices = [Device(tenant=acme.tenant, device_id=f"d{n}") for n in range(3000)]
    credentials_issue(devices=Device.objects.bulk_create(devices))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_devicestatus SET state = 'online', late_at = now()")
        cursor.execute("ANALYZE telemetry_devicestatus, devices_credential")
        cursor.execute(
            "EXPLAIN " + devicestatus.LOCK_DUE,
            {"ts": datetime(2020, 1, 1, tzinfo=UTC), "limit": 10},
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "status_next_late" in plan
    assert "Seq Scan" not in plan


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_that_races_the_sweep_wins(heard: Device) -> None:
    """The heartbeat's transaction is open when the sweep comes; the sweep leaves it alone."""
    sweep_until(80)
    with transaction.atomic():
        heartbeats_store(heartbeats=[heartbeat(heard, after(95))])
        result = _in_another_connection(lambda: sweep(100))
    assert result == SweepResult(0, 0)
    assert status(heard).state == "online"
    assert transitions(heard) == [("new", "online")]


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_do_not_run_at_once(heard: Device) -> None:
    sweep_until(80)
    with transaction.atomic():
        assert try_lock_in_transaction(AdvisoryLock.PRESENCE_SWEEP)
        result = _in_another_connection(lambda: sweep(100))
    assert result.late == 0
    assert sweep(101).late == 1


def _in_another_connection(act: Callable[[], SweepResult]) -> SweepResult:
    results: list[SweepResult] = []

    def run() -> None:
        results.append(act())
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return results[0]
