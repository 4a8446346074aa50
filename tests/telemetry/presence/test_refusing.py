import threading

import pytest
from django.db import ProgrammingError, connection, connections, transaction

from devices.models import Device
from devices.tenancy.access import Access, Role
from devices.tenancy.scope import access_scope, tenant_scope
from telemetry.models import LastRefusal, PresenceSweep
from telemetry.presence.pausing import presence_pause, presence_resume
from telemetry.presence.refusing import refused_note
from telemetry.presence.sweep import refusals_stale_since
from telemetry.signals import statuses_changed
from telemetry.statuses import StatusChange
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.refusals import REASON, contact, last_refusal, refuse
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


def test_a_new_device_whose_messages_are_refused_is_refused_at_once(acme: Fleet) -> None:
    assert refuse(contact(acme.device, 5)) == 1

    assert status(acme.device).state == "refused"
    assert status(acme.device).reason == f"speaks, but 1 message was refused at 12:00 UTC: {REASON}"
    assert transitions(acme.device) == [("new", "refused")]


def test_instead_of_late_it_is_refused_with_how_many_were(heard: Device) -> None:
    for moment in (50, 110, 170):
        sweeps(moment - 50, moment - 1)
        refuse(contact(heard, moment, count=4), until=2000)
    sweep(180)

    assert status(heard).state == "refused"
    assert transitions(heard) == [("new", "online"), ("online", "refused")]
    assert status(heard).reason == (
        f"speaks, but 12 messages were refused since 12:00, the last at 12:02 UTC: {REASON}"
    )


def test_a_device_that_is_refused_and_then_silent_turns_late_and_offline(heard: Device) -> None:
    sweep(0)
    refuse(contact(heard, 80, count=3), until=500)
    sweeps(1, 90)
    assert status(heard).state == "refused"
    sweeps(91, 169)
    assert status(heard).state == "refused"
    sweep(170)
    assert status(heard).state == "late"
    assert status(heard).reason == (
        "no message for 90 s, one expected every 60 s with 30 s grace; before that, "
        f"3 messages were refused since 12:01, the last at 12:01 UTC: {REASON}"
    )
    sweeps(171, 259)
    assert status(heard).state == "late"
    sweep(260)
    assert status(heard).state == "offline"


def test_a_device_that_was_only_ever_refused_turns_late_and_offline_too(acme: Fleet) -> None:
    refuse(contact(acme.device, 0), until=500)
    sweeps(0, 89)
    assert status(acme.device).state == "refused"
    sweeps(90, 179)
    assert status(acme.device).state == "late"
    sweep(180)
    assert status(acme.device).state == "offline"


@pytest.mark.parametrize(("silent_s", "state"), [(100, "late"), (300, "offline")])
def test_a_silent_device_that_is_refused_is_so_at_once(
    heard: Device, silent_s: int, state: str
) -> None:
    sweep_until(silent_s)
    assert status(heard).state == state

    assert refuse(contact(heard, silent_s + 5)) == 1

    assert (status(heard).state, status(heard).state_since) == ("refused", after(silent_s + 5))


def test_refusals_that_were_collected_late_do_not_end_a_silence(heard: Device) -> None:
    sweep_until(300)

    assert refuse(contact(heard, 200), until=310) == 0

    assert status(heard).state == "offline"
    assert last_refusal(heard).count == 1


def test_an_accepted_message_ends_it(heard: Device) -> None:
    sweep_until(100)
    refuse(contact(heard, 105), until=400)

    heartbeats_store(heartbeats=[heartbeat(heard, after(120))])

    assert status(heard).state == "online"
    assert status(heard).reason.startswith("heartbeat after 2 min of silence")
    sweeps(121, 209)
    assert status(heard).state == "online"
    sweep(210)
    assert status(heard).state == "late"


def test_a_device_with_good_and_refused_messages_stays_online(heard: Device) -> None:
    for moment in range(20, 400, 20):
        refuse(contact(heard, moment))
        if moment % 60 == 0:
            heartbeats_store(heartbeats=[heartbeat(heard, after(moment + 1))])
        sweep(moment + 2)

    assert transitions(heard) == [("new", "online")]
    # Since the accepted message at 361 s.
    assert (last_refusal(heard).count, last_refusal(heard).since) == (1, after(380))


def test_refusals_from_before_the_last_accepted_message_change_nothing(heard: Device) -> None:
    heartbeats_store(heartbeats=[heartbeat(heard, after(60))])
    refuse(contact(heard, 59), until=400)

    sweep(150)

    assert status(heard).state == "late"
    assert "refused" not in status(heard).reason


def test_a_paused_device_stays_paused_and_is_refused_when_resumed(heard: Device) -> None:
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(10))
    refuse(contact(heard, 200), until=900)
    sweep(205)
    assert status(heard).state == "paused"

    presence_resume(device_ids=[heard.pk], by="ann", ts=after(210))
    assert status(heard).state == "refused"
    assert status(heard).reason == (
        f"resumed by ann; speaks, but 1 message was refused at 12:03 UTC: {REASON}"
    )
    sweeps(211, 289)
    assert status(heard).state == "refused"
    sweep(290)
    assert status(heard).state == "late"


def test_the_silence_of_a_pause_is_not_counted_for_a_refused_device(heard: Device) -> None:
    sweep(0)
    refuse(contact(heard, 20), until=2000)
    presence_pause(device_ids=[heard.pk], by="ann", why="", ts=after(30))
    presence_resume(device_ids=[heard.pk], by="ann", ts=after(1000))

    assert status(heard).state == "late"
    PresenceSweep.objects.update(swept_at=after(1000))
    sweeps(1000, 1179)
    assert status(heard).state == "late"
    sweep(1180)
    assert status(heard).state == "offline"
    assert "(16 min 20 s not counted: it was paused" in status(heard).reason


def test_a_message_that_fell_into_a_stop_is_excused_for_a_refused_device(heard: Device) -> None:
    sweep(0)
    refuse(contact(heard, 80), until=2000)
    sweeps(1, 135)
    assert status(heard).state == "refused"

    # Nobody listened from 135 to 205: the messages due at 140 and 200 may have been lost.
    sweeps(205, 289)
    assert status(heard).state == "refused"
    sweep(290)
    assert status(heard).state == "late"
    assert "(2 min not counted" in status(heard).reason


def test_a_sweep_judges_no_later_than_refusals_are_collected(heard: Device) -> None:
    sweep(0)
    refuse(until=80)
    sweeps(1, 100)
    assert status(heard).state == "online"

    refuse(contact(heard, 85), until=101)
    sweep(102)

    assert status(heard).state == "refused"
    assert transitions(heard) == [("new", "online"), ("online", "refused")]


def test_without_a_collector_a_sweep_judges_again_after_a_while(heard: Device) -> None:
    sweep(0)
    refuse(until=20)
    assert refusals_stale_since(after(60)) is None
    assert refusals_stale_since(after(90)) == after(20)

    sweeps(1, 320)
    assert status(heard).state == "online"
    sweep(321)

    assert status(heard).state == "offline"


def test_the_time_up_to_which_refusals_are_collected_never_goes_back(heard: Device) -> None:
    sweep(0)
    refuse(until=80)
    refuse(until=70)

    assert PresenceSweep.objects.get().refusals_until == after(80)


def test_contacts_of_one_call_count_together_and_the_newest_is_told(acme: Fleet) -> None:
    refuse(
        contact(acme.device, 9, count=2, reason="newest", sample="new"),
        contact(acme.device, 5, count=3, reason="older", sample="old"),
    )
    refuse(contact(acme.device, 7, count=1, reason="late to come", sample="late"), until=9)

    told = last_refusal(acme.device)
    assert (told.count, told.since, told.at) == (6, after(5), after(9))
    assert (told.reason, told.sample) == ("newest", "new")


def test_the_reason_of_a_refused_device_is_kept_up_to_date(acme: Fleet) -> None:
    for moment in range(8):
        refuse(contact(acme.device, moment))
    assert "1 message was refused at" in status(acme.device).reason
    refuse(contact(acme.device, 8, reason="another"))
    assert status(acme.device).reason.endswith(
        "9 messages were refused since 12:00, the last at 12:00 UTC: another"
    )
    refuse(contact(acme.device, 11, reason="another"))
    assert "10 messages" in status(acme.device).reason
    assert transitions(acme.device) == [("new", "refused")]


def test_values_left_out_of_accepted_messages_change_no_state(acme: Fleet) -> None:
    assert refuse(contact(acme.device, 5, accepted=True)) == 0
    assert status(acme.device).state == "new"

    heartbeats_store(heartbeats=[heartbeat(acme.device, after(6))])
    refuse(contact(acme.device, 65, count=2, accepted=True), until=3000)
    assert last_refusal(acme.device, accepted=True).count == 3
    sweeps(0, 300)
    assert status(acme.device).state == "offline"

    refuse(contact(acme.device, 200_000, accepted=True))
    assert last_refusal(acme.device, accepted=True).count == 1


def test_devices_that_do_not_exist_are_ignored(acme: Fleet, rival: Fleet) -> None:
    gone = contact(acme.device, 1)._replace(device_id=999_999)
    foreign = contact(acme.device, 1)._replace(tenant_id=rival.tenant.pk)

    assert refuse(gone, foreign, contact(rival.device, 1)) == 1

    assert list(LastRefusal.objects.values_list("device_id", flat=True)) == [rival.device.pk]
    assert status(acme.device).state == "new"


def test_what_was_refused_goes_with_the_device(acme: Fleet) -> None:
    refuse(contact(acme.device, 1), contact(acme.device, 1, accepted=True))

    acme.device.delete()

    assert not LastRefusal.objects.exists()


def test_the_other_tenant_does_not_see_what_was_refused(acme: Fleet, rival: Fleet) -> None:
    refuse(contact(acme.device, 1), contact(rival.device, 1))

    with access_scope(Access(False, {rival.tenant.pk: Role.VIEWER}), reads=True):
        (seen,) = LastRefusal.objects.all()

    assert seen.device_id == rival.device.pk


def test_a_refused_device_is_announced(
    acme: Fleet, django_capture_on_commit_callbacks: object
) -> None:
    announced: list[StatusChange] = []

    def listen(sender: object, *, changes: list[StatusChange], **kwargs: object) -> None:
        announced.extend(changes)

    statuses_changed.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            refuse(contact(acme.device, 1))
    finally:
        statuses_changed.disconnect(listen)

    (change,) = announced
    assert (change.device_id, change.state) == (acme.device.pk, "refused")


@pytest.mark.django_db(transaction=True)
def test_a_refusal_that_races_the_sweep_is_not_lost(heard: Device) -> None:
    """The sweep leaves a device alone whose refusal is being written."""
    sweeps(0, 85)
    refuse(until=95)

    def judge() -> None:
        sweep(95)
        connections.close_all()

    thread = threading.Thread(target=judge)
    with transaction.atomic():
        refuse(contact(heard, 86), until=100)
        thread.start()
        # Waits for the refusals' transaction.
    thread.join(30)
    sweep(101)
    assert transitions(heard) == [("new", "online"), ("online", "refused")]


@pytest.mark.django_db(transaction=True)
def test_a_device_that_is_deleted_meanwhile_takes_its_refusals_along(acme: Fleet) -> None:
    begun = threading.Event()

    def delete() -> None:
        begun.set()
        Device.objects.get(pk=acme.device.pk).delete()
        connections.close_all()

    thread = threading.Thread(target=delete)
    with transaction.atomic():
        refuse(contact(acme.device, 1))
        thread.start()
        begun.wait(30)
    thread.join(30)

    assert not Device.objects.filter(pk=acme.device.pk).exists()
    assert not LastRefusal.objects.exists()


def test_no_contacts_only_move_the_time(acme: Fleet) -> None:
    sweep(0)
    assert refused_note(contacts=[], collected_until=T0) == 0
    assert PresenceSweep.objects.get().refusals_until == T0


def test_a_tenant_only_reads_what_was_refused(acme: Fleet, rival: Fleet) -> None:
    refuse(contact(acme.device, 5))
    forged = (
        "INSERT INTO telemetry_lastrefusal "
        "(device_id, accepted, tenant_id, at, since, count, reason, sample) "
        "VALUES (%s, false, %s, now(), now(), 1, '', '')",
        [rival.device.pk, acme.tenant.pk],
    )
    changes: tuple[tuple[str, list[int]], ...] = (
        forged,
        ("UPDATE telemetry_lastrefusal SET reason = ''", []),
        ("DELETE FROM telemetry_lastrefusal", []),
        ("UPDATE ingest_refusal SET reason = ''", []),
        ("INSERT INTO ingest_refusal (count) VALUES (1)", []),
    )
    with tenant_scope(tenant_ids=[acme.tenant.pk], user_id=acme.manager.pk):
        assert last_refusal(acme.device).reason == REASON
        for change, values in changes:
            denied = pytest.raises(ProgrammingError, match="permission denied for table")
            with denied, transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(change, values)


def test_what_was_refused_is_always_its_devices_tenants(acme: Fleet, rival: Fleet) -> None:
    refuse(contact(rival.device, 5))
    LastRefusal.objects.filter(device=rival.device).update(tenant=acme.tenant)

    refuse(contact(rival.device, 6, sample='{"battery_pct": 101}'))

    assert last_refusal(rival.device).tenant == rival.tenant
    with tenant_scope(tenant_ids=[acme.tenant.pk], user_id=acme.manager.pk):
        assert not LastRefusal.objects.exists()


def test_a_tenant_can_delete_a_device_that_was_refused(acme: Fleet) -> None:
    refuse(contact(acme.device, 5))
    with tenant_scope(tenant_ids=[acme.tenant.pk], user_id=acme.manager.pk):
        acme.device.delete()
    assert not LastRefusal.objects.exists()
