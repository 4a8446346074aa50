from devices.models import Device
from telemetry.presence.pausing import presence_pause, presence_resume
from telemetry.presence.sweep import presence_sweep
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import (
    T0,
    after,
    status,
    sweep,
    sweep_until,
    sweeps,
    transitions,
)
from tests.telemetry.storing import heartbeats_store


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
    assert "(8 min 20 s not counted: it was paused, or" in status(heard).reason
    assert [state for _, state in transitions(heard)] == ["online", "paused", "late", "offline"]


def test_a_resumed_device_that_was_heard_meanwhile_is_online(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10))
    heartbeats_store(heartbeats=[heartbeat(heard, after(300))])

    presence_resume(device_ids=[heard.pk], by="bob", ts=after(301))

    assert status(heard).state == "online"
    assert status(heard).reason == "resumed by bob; last heard 1 s earlier"
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


def test_a_pause_with_an_end_ends_by_itself(heard: Device) -> None:
    presence_pause(
        device_ids=[heard.pk], by="ann", why="Christmas", ts=after(10), until=after(3600)
    )
    sweeps(11, 3599)
    assert (status(heard).state, status(heard).paused_until) == ("paused", after(3600))
    assert status(heard).reason == "paused by ann until 2026-06-01 13:00 UTC: Christmas"

    result = sweep(3600)

    assert result.others == 1
    assert (status(heard).state, status(heard).paused_until) == ("late", None)
    assert status(heard).reason == "the pause ended; waiting for a message, due within 90 s"
    assert transitions(heard)[-1] == ("paused", "late")
    sweeps(3601, 3779)
    assert status(heard).state == "late"
    sweep(3780)
    assert status(heard).state == "offline"


def test_a_device_heard_during_its_pause_is_online_after_it(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10), until=after(60))
    heartbeats_store(heartbeats=[heartbeat(heard, after(50))])

    sweep(60)

    assert status(heard).reason == "the pause ended; last heard 10 s earlier"
    assert status(heard).state == "online"


def test_a_pause_ends_although_messages_wait_to_be_stored(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10), until=after(60))

    presence_sweep(ts=after(61), heard_until=after(20))

    assert status(heard).state == "online"


def test_pausing_a_paused_device_changes_its_end_and_reason(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10), until=after(60))
    assert (
        presence_pause(device_ids=[heard.pk], by="bob", why="longer", ts=after(20), until=None) == 1
    )
    sweep(100)

    assert (status(heard).state, status(heard).paused_until) == ("paused", None)
    assert status(heard).reason == "paused by bob: longer"
    assert transitions(heard) == [("new", "online"), ("online", "paused")]


def test_a_pause_that_was_ended_early_does_not_end_again(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10), until=after(60))
    presence_resume(device_ids=[heard.pk], by="ann", ts=after(20))
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(30))

    sweep(60)

    assert status(heard).state == "paused"


def test_a_pause_judges_by_the_interval_that_was_set_meanwhile(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10), until=after(2000))
    Device.objects.filter(pk=heard.pk).update(expected_interval_s=86_400)

    sweep(2000)

    assert status(heard).state == "online"
    assert status(heard).reason == "the pause ended; last heard 33 min 20 s earlier"
