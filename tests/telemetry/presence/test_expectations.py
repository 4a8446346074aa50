"""A device is judged again as soon as its interval or grace is another."""

import pytest

from devices.models import Device, Tenant
from telemetry.models import DeviceStatus
from telemetry.signals import statuses_changed
from telemetry.statuses import StatusChange
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.refusals import contact, refuse
from tests.telemetry.presence.sweeping import T0, after, status, sweep, sweeps, transitions
from tests.telemetry.storing import heartbeats_store


def expect(device: Device, interval_s: int | None, grace_s: int | None = None) -> None:
    device.expected_interval_s, device.grace_s = interval_s, grace_s
    device.save()


def test_a_device_that_is_not_silent_by_its_new_interval_is_online_again(acme: Fleet) -> None:
    expect(acme.device, 3, 0)
    heartbeats_store(heartbeats=[heartbeat(acme.device, T0)])
    sweeps(0, 10_000)
    assert status(acme.device).state == "offline"

    expect(acme.device, 86_400)
    sweep(10_001)

    assert (status(acme.device).state, status(acme.device).state_since) == (
        "online",
        after(10_001),
    )
    assert status(acme.device).reason == (
        "a message is expected every 1 d with 30 s grace now; last heard 2 h 46 min earlier"
    )
    assert status(acme.device).late_at == after(86_430)
    assert transitions(acme.device)[-1] == ("offline", "online")


def test_a_device_that_is_silent_by_its_new_interval_is_late_at_once(heard: Device) -> None:
    expect(heard, 86_400)
    sweeps(0, 200)
    assert status(heard).state == "online"

    expect(heard, 100, 25)
    sweep(201)

    assert status(heard).state == "late"
    assert status(heard).reason == (
        "no message for 3 min 21 s, one expected every 100 s with 25 s grace now; "
        "last message from 10.0.0.7, battery 12 %"
    )
    sweeps(202, 249)
    assert status(heard).state == "late"
    sweep(250)
    assert status(heard).state == "offline"


def test_an_offline_device_may_be_only_late_by_its_new_interval(heard: Device) -> None:
    sweeps(0, 200)
    assert status(heard).state == "offline"

    expect(heard, 120)
    sweep(201)
    assert status(heard).state == "late"
    sweeps(202, 299)
    assert status(heard).state == "late"
    sweep(300)
    assert status(heard).state == "offline"


def test_a_device_that_stays_silent_has_its_new_interval_in_the_reason(heard: Device) -> None:
    sweeps(0, 1000)
    since = status(heard).state_since

    expect(heard, 61)
    sweep(1001)

    assert (status(heard).state, status(heard).state_since) == ("offline", since)
    assert "no message for 16 min 41 s, one expected every 61 s" in status(heard).reason
    assert len(transitions(heard)) == 3


def test_an_online_device_keeps_its_reason_and_gets_a_new_deadline(heard: Device) -> None:
    sweeps(0, 30)
    reason = status(heard).reason

    expect(heard, 40)
    sweep(31)

    assert (status(heard).state, status(heard).reason) == ("online", reason)
    assert status(heard).late_at == after(70)


def test_a_refused_device_is_judged_again_too(heard: Device) -> None:
    refuse(contact(heard, 50), until=9999)
    sweeps(0, 100)
    assert status(heard).state == "refused"

    expect(heard, 10)
    sweep(101)
    assert status(heard).state == "late"

    expect(heard, 300)
    sweep(102)
    assert status(heard).state == "online"


def test_a_late_device_may_be_refused_by_its_new_interval(acme: Fleet) -> None:
    refuse(contact(acme.device, 0), until=9999)
    sweeps(0, 100)
    assert status(acme.device).state == "late"

    expect(acme.device, 300)
    sweep(101)

    assert status(acme.device).state == "refused"


def test_the_tenants_defaults_count_for_devices_without_their_own(
    acme: Fleet, rival: Fleet, heard: Device
) -> None:
    own = Device.objects.create(tenant=acme.tenant, device_id="own", expected_interval_s=60)
    heartbeats_store(heartbeats=[heartbeat(device, T0) for device in (own, rival.device)])
    sweeps(0, 200)

    acme.tenant.default_interval_s = 86_400
    acme.tenant.save()
    sweep(201)

    states = {one.pk: status(one).state for one in (heard, own, rival.device)}
    assert states == {heard.pk: "online", own.pk: "offline", rival.device.pk: "offline"}


def test_a_bulk_change_counts_as_well(heard: Device) -> None:
    sweeps(0, 200)

    Tenant.objects.update(default_grace_s=1000)
    sweep(201)

    assert status(heard).state == "online"


def test_an_interval_that_stays_the_same_in_effect_judges_nobody(heard: Device) -> None:
    expect(heard, 60, 30)

    assert status(heard).expectation_changed_at is None


def test_new_and_paused_devices_have_nothing_to_be_judged_by(acme: Fleet) -> None:
    expect(acme.device, 5)
    sweep(10)

    assert status(acme.device).state == "new"
    assert not DeviceStatus.objects.filter(expectation_changed_at__isnull=False).exists()


def test_changes_back_and_forth_within_one_time_are_all_recorded(heard: Device) -> None:
    """A sweep may judge by the same time twice, as long as messages wait to be stored."""
    sweeps(0, 200)
    refuse(until=200)
    for interval_s in (86_400, 60, 86_400, 60):
        expect(heard, interval_s)
        sweep(201)

    assert [state for _, state in transitions(heard)][2:] == [
        "offline",
        "online",
        "offline",
        "online",
        "offline",
    ]


def test_an_interval_of_a_year_is_kept(acme: Fleet) -> None:
    expect(acme.device, 366 * 86_400, 7 * 86_400)
    acme.device.full_clean()
    heartbeats_store(heartbeats=[heartbeat(acme.device, T0)])
    sweep(0)

    assert status(acme.device).late_at == after(373 * 86_400)


def test_a_new_reason_is_announced(
    heard: Device, django_capture_on_commit_callbacks: object
) -> None:
    sweeps(0, 200)
    announced: list[StatusChange] = []

    def listen(sender: object, *, changes: list[StatusChange], **kwargs: object) -> None:
        announced.extend(changes)

    statuses_changed.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            expect(heard, 61)
            sweep(201)
    finally:
        statuses_changed.disconnect(listen)

    (change,) = announced
    assert "every 61 s" in change.reason


@pytest.mark.parametrize("seen", [-5, 150])
def test_a_message_that_comes_with_the_change_wins(heard: Device, seen: int) -> None:
    sweeps(0, 200)
    expect(heard, 70)
    heartbeats_store(heartbeats=[heartbeat(heard, after(200 + seen))])
    sweep(201)
    sweeps(202, 200 + seen + 99)

    assert status(heard).state == "online"
    sweeps(200 + seen + 100, 200 + seen + 105)
    assert status(heard).state == "late"
