"""The proof of the ledger, and the command that prints it."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from ingest.ledger import verification
from ingest.ledger.balances import Balance
from ingest.ledger.verification import Account, ledger_verify
from ingest.models import LedgerMinute, RejectedMessage
from ingest.storage.drain import drain_run
from ingest.stream import shards
from telemetry.locks import NAMESPACE, AdvisoryLock
from telemetry.models import Reading
from tests.conftest import Fleet
from tests.ingest.way import (
    REFUSED,
    append,
    append_heartbeat,
    drain,
    ledger,
    now,
    reading,
    seconds_ago,
)
from tests.services import endpoints
from tests.telemetry.past import moments

pytestmark = [pytest.mark.usefixtures("valkey"), pytest.mark.django_db(transaction=True)]


def account(fleet: Fleet) -> Account:
    return ledger_verify()[fleet.tenant.pk]


def everything(fleet: Fleet) -> None:
    """A duplicate, a rejected message, a heartbeat and one in flight, all of one minute."""
    at = now()
    append(fleet, reading(fleet.device, at), reading(fleet.device, at), received_at=at)
    append(fleet, reading(fleet.device, at - timedelta(seconds=1), REFUSED), received_at=at)
    append_heartbeat(fleet.device, at)
    drain()
    append(fleet, reading(fleet.device, at + timedelta(seconds=5)), received_at=at)


def test_every_message_is_accounted_for(acme: Fleet, rival: Fleet) -> None:
    everything(acme)

    own = account(acme)

    assert own.problems() == []
    assert own.balance._asdict() == {
        "accepted": 5,
        "stored": 2,
        "joined": 0,
        "duplicate": 1,
        "conflict": 0,
        "late": 0,
        "rejected": 1,
        "replayed": 0,
        "in_flight": 1,
    }
    assert (own.found, own.kept) == (2, 1)
    assert account(rival) == Account(Balance(), Balance(), 0, 0, 0)


def test_a_row_that_vanished_is_found_out_in_its_tenant(
    acme: Fleet, rival: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    everything(acme)
    everything(rival)
    Reading.objects.filter(device=acme.device).delete()

    assert account(acme).problems() == ["3 messages were stored, but the tables hold 1"]
    assert account(rival).problems() == []
    with pytest.raises(CommandError) as error:
        call_command("ledger", "--verify")
    assert str(error.value) == (
        "The ledger does not balance.\n  acme: 3 messages were stored, but the tables hold 1."
    )


def test_messages_missing_and_too_many_are_told_apart(acme: Fleet) -> None:
    everything(acme)
    row = LedgerMinute.objects.filter(tenant=acme.tenant, stored=2)

    row.update(accepted=7)
    assert "2 accepted messages are missing" in account(acme).problems()
    row.update(accepted=5, stored=5)
    assert "3 more messages than were accepted" in account(acme).problems()


def test_a_rejected_message_that_vanished_is_found_out(acme: Fleet) -> None:
    everything(acme)
    RejectedMessage.objects.all().delete()

    assert account(acme).problems() == ["1 messages were rejected, but 0 are kept"]


def test_a_conflict_that_vanished_is_found_out(acme: Fleet) -> None:
    at = now()
    append(acme, reading(acme.device, at), reading(acme.device, at, b'{"temp_c": 1, "a": 2}'))
    drain()
    assert account(acme).problems() == []

    RejectedMessage.objects.all().delete()

    assert account(acme).problems() == ["1 messages were in conflict, but 0 are kept"]


def test_deleted_devices_and_tenants_make_no_false_alarm(acme: Fleet, rival: Fleet) -> None:
    everything(acme)
    everything(rival)
    append(acme, reading(acme.device, now()))
    acme.device.delete()
    rival.tenant.delete()

    accounts = ledger_verify()
    assert list(accounts) == [acme.tenant.pk]
    assert accounts[acme.tenant.pk].problems() == []
    drain()
    assert account(acme).problems() == []
    assert account(acme).balance.rejected == 2


def test_rows_from_before_the_ledger_are_left_out(acme: Fleet) -> None:
    old = seconds_ago(7200)
    append(acme, reading(acme.device, old), received_at=old)
    drain()
    LedgerMinute.objects.all().delete()
    shards.connection().delete(shards.accepted_key(0))
    append(acme, reading(acme.device, now()))
    drain()

    assert account(acme).problems() == []
    assert account(acme).found == 1


def test_what_was_stored_and_not_yet_taken_out_is_not_in_flight(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(acme, *(reading(acme.device, time) for time in moments(3)))

    def die(*arguments: Any) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "finish", die)
        with pytest.raises(ConnectionError):
            drain()
    append(acme, reading(acme.device, seconds_ago(9)))
    assert shards.waiting_counts(0)["messages"] == 4

    own = account(acme)

    assert (own.balance.stored, own.balance.in_flight) == (3, 1)
    assert own.problems() == []


def test_only_the_latest_minutes_are_recounted_when_asked(acme: Fleet) -> None:
    at = seconds_ago(3600)
    append(acme, reading(acme.device, at), received_at=at)
    everything(acme)
    Reading.objects.filter(time=at).delete()

    assert account(acme).problems() != []
    assert ledger_verify(since=seconds_ago(1800))[acme.tenant.pk].problems() == []
    call_command("ledger", "--verify", "--minutes", "30")


@pytest.fixture
def load(acme: Fleet) -> Iterator[threading.Event]:
    """Accepts and drains messages until the event is set."""
    stop = threading.Event()

    def accept() -> None:
        while not stop.is_set():
            append(acme, *(reading(acme.device, now(), b'{"n": 1}') for _ in range(20)))

    def store() -> None:
        while not stop.is_set():
            drain_run(shard=0, run_s=0.1)
        connection.close()

    threads = [threading.Thread(target=accept), threading.Thread(target=store)]
    for thread in threads:
        thread.start()
    yield stop
    stop.set()
    for thread in threads:
        thread.join(30)


def test_it_is_exact_while_messages_come_in_and_drains_run(
    acme: Fleet, load: threading.Event
) -> None:
    accepted = []
    for _ in range(8):
        own = account(acme)
        assert own.problems() == []
        accepted.append(own.balance.accepted)

    assert accepted == sorted(set(accepted))
    load.set()


def test_drains_wait_only_while_the_streams_are_read(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(acme, reading(acme.device, now()))
    count = verification._found

    def drain_meanwhile(*arguments: Any) -> Any:
        outcomes: list[str | None] = []

        def run() -> None:
            outcomes.append(drain_run(shard=0, run_s=0.05))
            connection.close()

        other = threading.Thread(target=run)
        other.start()
        other.join(20)
        assert outcomes != [None]
        return count(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(verification, "_found", drain_meanwhile)
        own = account(acme)

    assert (own.balance.stored, own.balance.in_flight, own.found) == (0, 1, 0)
    assert own.problems() == []
    assert ledger(acme)["stored"] == 1


def test_it_says_so_when_a_drain_does_not_make_way(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "WAIT_FOR_DRAIN_S", 0.2)
    name = connection.settings_dict["NAME"]
    with psycopg.connect(endpoints.database_url, dbname=name) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, AdvisoryLock.DRAIN))
        with pytest.raises(OperationalError, match="lock timeout"):
            ledger_verify()
        with pytest.raises(CommandError, match="could not be verified"):
            call_command("ledger", "--verify")
    assert ledger_verify()[acme.tenant.pk].problems() == []
