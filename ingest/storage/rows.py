"""Stores rows, counts what became of each, and finds those that the database refuses."""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DataError, IntegrityError, OperationalError, transaction
from psycopg.errors import DeadlockDetected, ForeignKeyViolation

from ingest.ledger.balances import Tally
from ingest.storage.rejected import DELETED, Reason, Rejection
from ingest.stream import shards
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.joining import Became
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import InsertOutcome

log = logging.getLogger(__name__)

# A message is late if it is older than this when it arrives.
LATE_AFTER = timedelta(minutes=5)
# How often a batch is tried before its drain gives up.
TRIES = 10

Row = TypeVar("Row", IncomingHeartbeat, IncomingReading)
Result = TypeVar("Result")


class Stored(NamedTuple, Generic[Row]):
    """What of a batch may be shown in statuses, and the messages that people have to look at."""

    shown: Sequence[Row]
    rejections: list[Rejection]


def stored_once_more(work: Callable[[], Result]) -> Result:
    """Returns what `work` returns, a transaction that stores a batch. Retries it after a deadlock,
    or if a tenant was deleted before it committed. Raises its error after TRIES attempts."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except (IntegrityError, OperationalError) as error:
            if not isinstance(error.__cause__, (DeadlockDetected, ForeignKeyViolation)):
                raise
            log.warning("storing a batch again: %s", error)
    return work()


def minute_key(row: Any) -> tuple[int, int]:
    """The tenant and the minute of acceptance under which the ledger counts the row."""
    return row.tenant_id, shards.minute_of(row.received_at)


def rows_insert(
    rows: Sequence[Row], insert: Callable[[Sequence[Row]], InsertOutcome[Row]], tally: Tally
) -> Stored[Row]:
    """Inserts rows, finding those that the database refuses by halving.

    A rejection holds the same row object that was passed in. Adds what became of each row to
    `tally`.
    """
    if not rows:
        return Stored((), [])
    try:
        with transaction.atomic():
            outcome = insert(rows)
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            tally.rejected[minute_key(rows[0])] += 1
            return Stored((), [Rejection(rows[0], Reason.INVALID_DATA, error_words(error))])
        middle = len(rows) // 2
        halves = [rows_insert(half, insert, tally) for half in (rows[:middle], rows[middle:])]
        return Stored(
            [row for half in halves for row in half.shown],
            [rejection for half in halves for rejection in half.rejections],
        )
    _count(rows, outcome, tally)
    return Stored(outcome.shown(rows), _rejections(rows, outcome))


def error_words(error: Exception) -> str:
    """The database's message in one line; for any other error, its text."""
    diagnosis = getattr(error.__cause__, "diag", None)
    said = (diagnosis.message_primary, diagnosis.message_detail) if diagnosis else (str(error),)
    return ": ".join(part for part in said if part) or type(error).__name__


def _count(rows: Sequence[Row], outcome: InsertOutcome[Row], tally: Tally) -> None:
    minutes = [minute_key(row) for row in rows]
    tally.stored.update(minutes)
    for n, join in outcome.joins.items():
        tally.stored[minutes[n]] -= 1
        tally.of(join.became)[minutes[n]] += 1
    for n in outcome.unknown:
        tally.stored[minutes[n]] -= 1
        tally.rejected[minutes[n]] += 1
    missing = {n for n, join in outcome.joins.items() if join.became is not Became.JOINED}
    tally.late.update(_late(rows, minutes, missing.union(outcome.unknown)))


def _rejections(rows: Sequence[Row], outcome: InsertOutcome[Row]) -> list[Rejection]:
    reasons = {Became.CONFLICT: Reason.CONFLICT, Became.TOO_WIDE: Reason.TOO_WIDE}
    rejections = [Rejection(rows[n], Reason.UNKNOWN_DEVICE, DELETED) for n in outcome.unknown]
    return rejections + [
        Rejection(rows[n], reasons[join.became], join.words)
        for n, join in outcome.joins.items()
        if join.became in reasons
    ]


def _late(
    rows: Sequence[Any], minutes: Sequence[tuple[int, int]], missing: set[int]
) -> Iterable[tuple[int, int]]:
    return (
        minutes[n]
        for n, row in enumerate(rows)
        if row.received_at - row.said_at > LATE_AFTER and n not in missing
    )
