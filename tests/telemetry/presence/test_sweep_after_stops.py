"""A silence does not count while no server listened."""

from datetime import datetime, timedelta

import pytest

from devices.models import Device
from telemetry.models import PresenceSweep
from telemetry.presence.listening import Unheard
from telemetry.presence.pausing import presence_pause, presence_resume
from telemetry.presence.sweep import SweepResult, presence_sweep
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import T0, after, status, sweep, sweep_until, transitions
from tests.telemetry.storing import heartbeats_store


def test_time_in_which_nobody_listened_does_not_count(heard: Device) -> None:
    sweep_until(30)

    sweep(630)

    assert status(heard).state == "online"
    for moment in range(640, 691, 10):
        sweep(moment)
    latest = status(heard)
    assert latest.state == "late"
    assert (
        "for 11 min 30 s (10 min not counted: it was paused, or Rollcall was not "
        "listening), one expected" in latest.reason
    )


def judged_late_at(device: Device, *away: tuple[float, float], until: int) -> float:
    """How many seconds after T0 the device becomes late, with a sweep every 10 s, if no server
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
    # The heartbeats at 60 and 120 could not be heard.
    assert judged_late_at(heard, (55, 130), until=300) == 90 + 2 * 60
    assert "(2 min not counted: it was paused, or Rollcall" in status(heard).reason


def test_stops_in_which_nothing_was_expected_excuse_nobody(heard: Device) -> None:
    assert judged_late_at(heard, (5, 29), (31, 58), until=300) == 90


def test_a_message_that_may_have_fallen_into_several_stops_is_excused_once(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(expected_interval_s=60, grace_s=600)
    heartbeats_store(heartbeats=[heartbeat(acme.device, T0)])

    stops = [(start, start + 5) for start in range(100, 1000, 100)]
    # The last gap begins at 900, so the heartbeat due by then is excused, like all earlier ones.
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
    """And a device that stays silent from then on becomes late in due time."""
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
