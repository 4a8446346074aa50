from devices.models import Device
from telemetry.presence.pausing import presence_pause, presence_resume
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import T0, after, status, sweep, sweep_until, transitions
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
