import threading
from collections.abc import Callable

import pytest
from django.db import connections, transaction

from devices.fleet.keys import credential_issue, credentials_revoke
from devices.models import Device
from telemetry.locks import AdvisoryLock, try_lock_in_transaction
from telemetry.presence.sweep import SweepResult, presence_sweep
from telemetry.sql.reading import IncomingReading
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import T0, after, status, sweep, sweep_until, transitions
from tests.telemetry.storing import heartbeats_store, readings_store


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
        "last message from 10.0.0.7, battery 12 %"
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
    assert status(heard).reason.endswith("battery 12 %; its key was revoked 60 s earlier")


def test_a_heartbeat_brings_it_back_with_how_long_it_was_silent(heard: Device) -> None:
    sweep_until(200)

    heartbeats_store(heartbeats=[heartbeat(heard, after(250))])

    assert status(heard).state == "online"
    assert status(heard).reason.startswith("heartbeat after 4 min 10 s of silence")
    assert transitions(heard)[-1] == ("offline", "online")


def test_a_device_that_sends_readings_alone_is_there_by_its_first_one(acme: Fleet) -> None:
    measured = IncomingReading(
        acme.device.pk, acme.tenant.pk, T0, T0, None, "telemetry", None, b'{"temp_c": 21.5}'
    )

    readings_store(readings=[measured])

    assert (status(acme.device).state, status(acme.device).reason) == ("online", "first reading")


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
