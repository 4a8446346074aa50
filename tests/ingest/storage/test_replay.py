import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from devices.fleet.registration import devices_approve
from devices.models import Device
from ingest.ledger.balances import balance_read
from ingest.models import RejectedMessage
from ingest.storage.rejected import DELETED, Reason, rejected_edit
from ingest.storage.replay import (
    MOST_FAILURES,
    RETRY_FIRST,
    RETRY_MOST,
    ReplayOutcome,
    approved_replay,
    rejected_replay,
    replay_request,
    requested_replay,
)
from telemetry.models import DeviceStatus, Heartbeat, PresenceEvent, Reading
from tests.conftest import Fleet
from tests.ingest.storage.replaying import held, mended, refused, replay, unstorable
from tests.ingest.way import (
    append,
    drain,
    ledger,
    now,
    reading,
)
from tests.telemetry.storing import device_lock
from tests.two_at_once import against, elsewhere

pytestmark = pytest.mark.usefixtures("valkey")


def test_a_mended_message_is_stored_and_the_ledger_follows(acme: Fleet, rival: Fleet) -> None:
    message = mended(acme)
    assert ledger(acme) == {"accepted": 1, "rejected": 1}

    assert replay(message) == ReplayOutcome(stored=1)

    assert Reading.objects.get(device=acme.device).metrics == {"text": "a b"}
    assert ledger(acme) == {"accepted": 1, "stored": 1, "replayed": 1}
    assert balance_read().residual == 0
    message.refresh_from_db()
    assert message.replayed_at is not None
    assert message.replayed_by == "tester"
    assert ledger(rival) == {}


def test_a_message_replayed_twice_counts_once(acme: Fleet) -> None:
    message = mended(acme)
    replay(message)
    before = ledger(acme)

    assert replay(message) == ReplayOutcome()

    assert ledger(acme) == before
    assert Reading.objects.count() == 1


def test_a_message_that_is_there_already_is_a_duplicate(acme: Fleet) -> None:
    message = mended(acme)
    append(acme, reading(acme.device, message.received_at, b'{"text": "a b"}'))
    drain()

    assert replay(message) == ReplayOutcome(duplicate=1)

    assert ledger(acme) == {"accepted": 2, "stored": 1, "duplicate": 1, "replayed": 1}
    assert balance_read().residual == 0


def test_a_message_that_is_still_wrong_stays_with_the_new_reason(acme: Fleet) -> None:
    message = refused(acme)

    outcome = replay(message)

    assert outcome.rejected == 1
    message.refresh_from_db()
    assert message.replayed_at is None
    assert outcome.errors == (message.error,)
    assert message.error == "$.metrics.text: text with the character U+0000 cannot be stored"
    assert ledger(acme) == {"accepted": 1, "rejected": 1}


def test_one_that_the_database_refuses_does_not_stop_the_others(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = mended(acme, 1), refused(acme, 20)
    monkeypatch.setattr("ingest.messages.readings._check_texts", lambda body: None)

    outcome = replay(good, bad)

    assert (outcome.stored, outcome.rejected) == (1, 1)
    bad.refresh_from_db()
    assert bad.reason == "invalid_data"
    assert "\\u0000" in bad.error
    assert balance_read().residual == 0


def test_a_replay_that_goes_wrong_says_so_keeps_no_other_and_is_tried_again(
    acme: Fleet, rival: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    message = mended(acme)
    replay_request(ids=[message.pk], by="tester")
    replay_request(ids=[mended(rival).pk], by="rival")

    with unstorable(acme.device, "disk_full"):
        at = timezone.now()
        assert requested_replay(ts=at) == ReplayOutcome(stored=1)

    message.refresh_from_db()
    assert (message.replay_failed_at, message.replay_error) == (at, "no space left on device")
    assert (message.replay_failures, message.replay_due_at) == (1, at + RETRY_FIRST)
    assert "a replay failed" in caplog.text
    assert ledger(acme) == {"accepted": 1, "rejected": 1}

    assert requested_replay(ts=at + RETRY_FIRST / 2) == ReplayOutcome()
    assert requested_replay(ts=at + RETRY_FIRST) == ReplayOutcome(stored=1)
    kept = RejectedMessage.objects.get(pk=message.pk)
    assert (kept.replay_failed_at, kept.replay_error) == (None, "")
    assert (kept.replay_failures, kept.replay_due_at) == (0, None)


@pytest.mark.parametrize("by_person", [False, True])
def test_a_replay_that_never_succeeds_is_tried_ever_more_seldom_and_in_the_end_no_more(
    acme: Fleet, by_person: bool
) -> None:
    (message,) = held(acme, 10)
    devices_approve(ids=[acme.device.pk])
    if by_person:
        replay_request(ids=[message.pk], by="tester")
    work = requested_replay if by_person else approved_replay
    ts = timezone.now()
    waits: list[timedelta] = []

    with unstorable(acme.device, "internal_error"):
        for _ in range(MOST_FAILURES):
            work(ts=ts)
            message.refresh_from_db()
            assert message.replay_failed_at == ts
            if message.replay_due_at:
                waits.append(message.replay_due_at - ts)
                ts = message.replay_due_at

    assert waits[:3] == [timedelta(seconds=2), timedelta(seconds=4), timedelta(seconds=8)]
    assert waits == sorted(waits) and len(waits) == MOST_FAILURES - 1
    assert waits[-1] == RETRY_MOST
    assert message.replay_requested_by == ""
    assert work(ts=ts + timedelta(days=1)) == ReplayOutcome()

    replay_request(ids=[message.pk], by="tester")
    assert requested_replay(ts=ts) == ReplayOutcome(stored=1)


def test_whoever_asks_again_has_it_tried_at_once(acme: Fleet) -> None:
    message = mended(acme)
    replay_request(ids=[message.pk], by="tester")
    with unstorable(acme.device, "internal_error"):
        requested_replay(ts=timezone.now())
    message.refresh_from_db()
    due_at = message.replay_due_at
    assert due_at is not None

    assert replay_request(ids=[message.pk], by="another").asked == [message.pk]

    assert requested_replay(ts=due_at - RETRY_FIRST) == ReplayOutcome(stored=1)
    assert RejectedMessage.objects.get().replayed_by == "another"


@pytest.mark.parametrize("by_person", [False, True])
def test_replays_that_never_succeed_leave_others_their_turn(
    acme: Fleet, rival: Fleet, monkeypatch: pytest.MonkeyPatch, by_person: bool
) -> None:
    monkeypatch.setattr("ingest.storage.replay.REQUESTED_AT_ONCE", 2)
    monkeypatch.setattr("ingest.storage.replay.APPROVED_AT_ONCE", 2)
    bad, (good,) = held(acme, 10, 20), held(rival, 10)
    devices_approve(ids=[acme.device.pk, rival.device.pk])
    if by_person:
        replay_request(ids=[good.pk, *(one.pk for one in bad)], by="tester")
    work = requested_replay if by_person else approved_replay
    ts = timezone.now()

    with unstorable(acme.device, "internal_error"):
        assert work(ts=ts) == ReplayOutcome()
        assert work(ts=ts + timedelta(seconds=1)) == ReplayOutcome(stored=1)


def test_one_whose_error_looks_like_the_databases_is_found_in_the_end(
    acme: Fleet, rival: Fleet
) -> None:
    """Messages of one transaction fail together at first."""
    messages = [mended(acme), *(mended(rival, age_s) for age_s in range(0, 50, 10))]
    replay_request(ids=[one.pk for one in messages], by="tester")
    ts = timezone.now()

    with unstorable(acme.device, "disk_full"):
        outcomes = [requested_replay(ts=ts + timedelta(minutes=n)) for n in range(4)]

    assert outcomes[0] == ReplayOutcome()
    assert sum(one.stored for one in outcomes) == 5
    assert balance_read().residual == 0


def test_a_message_whose_replay_goes_wrong_holds_back_none_of_its_transaction(
    acme: Fleet, rival: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    bad = mended(acme)
    good = [mended(rival, age_s) for age_s in range(0, 50, 10)]
    at = timezone.now()

    with unstorable(acme.device, "internal_error"):
        outcome = rejected_replay(ids=[bad.pk, *(one.pk for one in good)], by="tester", ts=at)

    assert outcome == ReplayOutcome(stored=5)
    bad.refresh_from_db()
    assert (bad.replayed_at, bad.replay_failed_at) == (None, at)
    assert bad.replay_error == "no space left on device"
    assert not RejectedMessage.objects.filter(tenant=rival.tenant, replayed_at=None).exists()
    assert caplog.text.count("a replay failed and will be tried again") == 1
    assert balance_read().residual == 0


def test_a_message_of_a_deleted_device_stays_until_it_names_another(
    acme: Fleet, rival: Fleet
) -> None:
    message = mended(acme)
    acme.device.delete()
    heir = Device.objects.create(tenant=acme.tenant, device_id="heir")
    message.refresh_from_db()
    assert replay(message).rejected == 1
    message.refresh_from_db()
    assert message.reason == "unknown_device"

    payload = message.payload.replace('"acme-phone"', '"heir"')
    assert rejected_edit(message=message, payload=payload)

    assert replay(message).stored == 1
    assert Reading.objects.get().device_id == heir.pk
    assert ledger(rival) == {}


def test_a_heartbeat_is_replayed_with_its_vitals(acme: Fleet) -> None:
    at = now()
    message = RejectedMessage.objects.create(
        tenant=acme.tenant,
        device=acme.device,
        kind="heartbeat",
        reason="invalid_data",
        error="",
        payload='{"battery_pct": 12, "cpu_pct": 3}',
        received_at=at,
        shard=0,
    )

    assert replay(message).stored == 1

    stored = Heartbeat.objects.get(device=acme.device)
    assert (stored.battery_pct, stored.vitals, stored.received_at) == (12, {"cpu_pct": 3}, at)
    assert DeviceStatus.objects.get(device=acme.device).state == "online"


def test_an_old_message_is_stored_and_touches_no_status(acme: Fleet) -> None:
    """Its age counts at the replay, although it was not old when it arrived."""
    message = mended(acme, age_s=3600)

    assert replay(message).stored == 1

    assert DeviceStatus.objects.get(device=acme.device).state == "new"
    assert not PresenceEvent.objects.filter(device=acme.device).exists()


@pytest.fixture
def threads() -> Iterator[list[threading.Thread]]:
    running: list[threading.Thread] = []
    yield running
    for thread in running:
        thread.join(20)


@pytest.mark.django_db(transaction=True)
def test_a_replay_that_was_rolled_back_for_another_transaction_is_done_once_more(
    acme: Fleet, rival: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [mended(acme), mended(rival)]

    outcome = against(
        partial(replay, *messages),
        first=partial(device_lock, acme.device.pk),
        second=partial(device_lock, rival.device.pk),
    )

    assert "storing a batch again" in caplog.text
    assert outcome == ReplayOutcome(stored=2)
    assert balance_read().residual == 0


@pytest.mark.django_db(transaction=True)
def test_two_who_replay_the_same_at_once_store_it_once(
    acme: Fleet, threads: list[threading.Thread]
) -> None:
    messages = held(acme, *range(1, 31))
    devices_approve(ids=[acme.device.pk])
    outcomes: list[ReplayOutcome] = []

    def run(*ids: Any) -> None:
        outcomes.append(replay(*messages))
        connection.close()

    threads += [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(outcome.stored for outcome in outcomes) == [0, 0, 0, 30]
    assert ledger(acme) == {"accepted": 30, "stored": 30, "replayed": 30}
    assert Reading.objects.count() == 30


@pytest.mark.django_db(transaction=True)
def test_a_device_is_deleted_without_waiting_for_the_replay_of_its_messages(acme: Fleet) -> None:
    message = mended(acme)

    @transaction.atomic
    def delete() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
        Device.objects.filter(pk=acme.device.pk).delete()

    with transaction.atomic():
        RejectedMessage.objects.select_for_update().get(pk=message.pk)
        elsewhere(delete)

    assert replay(message).rejected == 1

    message.refresh_from_db()
    assert (message.reason, message.error) == (Reason.UNKNOWN_DEVICE, DELETED)
    assert not DeviceStatus.objects.filter(device=acme.device).exists()
    assert balance_read().residual == 0
