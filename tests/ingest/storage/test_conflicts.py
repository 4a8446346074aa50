"""Messages that join a stored row, and those that are in conflict with one."""

import pytest

from ingest.ledger.balances import balance_read
from ingest.ledger.verification import ledger_verify
from ingest.models import RejectedMessage
from ingest.storage.rejected import rejected_edit
from ingest.storage.replay import ReplayOutcome
from telemetry.models import DeviceStatus, Reading
from tests.conftest import Fleet
from tests.ingest.storage.replaying import mended, replay
from tests.ingest.way import append, drain, ledger, now, reading

pytestmark = pytest.mark.usefixtures("valkey")


def test_each_message_has_one_column_in_the_ledger(acme: Fleet) -> None:
    at = now()
    append(
        acme,
        reading(acme.device, at, b'{"cpu": 97.2}'),
        reading(acme.device, at, b'{"load1": 0.2}'),
        reading(acme.device, at, b'{"cpu": 97.2}'),
        reading(acme.device, at, b'{"cpu": 50, "ram": 1}'),
    )
    drain()

    assert ledger(acme) == {
        "accepted": 4,
        "stored": 1,
        "joined": 1,
        "duplicate": 1,
        "conflict": 1,
    }
    assert Reading.objects.get().metrics == {"cpu": 97.2, "load1": 0.2, "ram": 1}
    conflict = RejectedMessage.objects.get()
    assert conflict.reason == "conflict"
    assert conflict.error == "cpu is 97.2 for this time, and the message says 50"
    assert '"cpu": 50' in conflict.payload or '"cpu":50' in conflict.payload
    assert DeviceStatus.objects.get(device=acme.device).metrics == {"cpu": 97.2, "ram": 1}
    assert balance_read().residual == 0


def test_a_message_joins_what_is_there_already(acme: Fleet) -> None:
    message = mended(acme)
    append(acme, reading(acme.device, message.received_at))
    drain()

    assert replay(message) == ReplayOutcome(stored=1)

    assert ledger(acme) == {"accepted": 2, "stored": 1, "joined": 1, "replayed": 1}
    assert Reading.objects.get().metrics == {"temp_c": 21.5, "text": "a b"}
    assert balance_read().residual == 0


@pytest.mark.django_db(transaction=True)
def test_a_message_for_which_another_value_is_there_already_becomes_a_conflict(
    acme: Fleet,
) -> None:
    message = mended(acme)
    append(acme, reading(acme.device, message.received_at, b'{"text": "b"}'))
    drain()

    assert replay(message).rejected == 1

    message.refresh_from_db()
    assert (message.reason, message.replayed_at) == ("conflict", None)
    assert message.error == 'text is "b" for this time, and the message says "a b"'
    assert ledger(acme) == {"accepted": 2, "stored": 1, "conflict": 1}
    assert balance_read().residual == 0
    assert not ledger_verify()[acme.tenant.pk].problems()


@pytest.mark.django_db(transaction=True)
def test_a_conflict_that_is_edited_and_replayed_is_stored(acme: Fleet) -> None:
    at = now()
    append(acme, reading(acme.device, at), reading(acme.device, at, b'{"temp_c": 22}'))
    drain()
    message = RejectedMessage.objects.get()
    assert replay(message).rejected == 1
    assert ledger(acme) == {"accepted": 2, "stored": 1, "conflict": 1}

    assert rejected_edit(message=message, payload=message.payload.replace("temp_c", "other_c"))
    assert not ledger_verify()[acme.tenant.pk].problems()
    assert replay(message) == ReplayOutcome(stored=1)

    assert ledger(acme) == {"accepted": 2, "stored": 1, "joined": 1, "replayed": 1}
    assert Reading.objects.get().metrics == {"temp_c": 21.5, "other_c": 22}
    assert not ledger_verify()[acme.tenant.pk].problems()
