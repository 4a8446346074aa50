"""Stores batches of messages: first the history, then the latest status of their devices.

History takes most of the time, and batches of all shards share devices. Locking their status rows
first would keep the other shards waiting all that time.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from telemetry.presence import reasons
from telemetry.presence.transitions import statuses_announce, transitions_write
from telemetry.sql import devicestatus, heartbeat, reading
from telemetry.sql.devicestatus import Moved, Returned
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.presenceevent import PresenceTransition
from telemetry.sql.reading import IncomingReading


class Incoming(Protocol):
    """A message on its way into a hypertable; `said_at` is its time by the device's clock."""

    @property
    def device_id(self) -> int: ...
    @property
    def said_at(self) -> datetime: ...
    @property
    def received_at(self) -> datetime: ...


Row = TypeVar("Row", bound=Incoming)
Insert = Callable[[CursorWrapper, Sequence[Row]], list[int]]

# How much the delays of two messages may differ if both were sent immediately.
NONE, PROMPT = timedelta(0), timedelta(seconds=5)


class InsertOutcome(NamedTuple):
    """`stored + len(duplicates) + len(unknown)` is the batch's length.

    `duplicates` and `unknown` are positions in the batch: messages that were already stored, and
    messages from devices that no longer exist.
    """

    stored: int
    duplicates: Sequence[int]
    unknown: Sequence[int]


@transaction.atomic
def batch_insert(*, rows: Sequence[Row], insert: "Insert[Row]") -> InsertOutcome:
    """Inserts each row once, and skips rows of devices that do not exist."""
    with connection.cursor() as cursor:
        missing = devicestatus.missing(cursor, ids={row.device_id for row in rows})
        known = [n for n, row in enumerate(rows) if row.device_id not in missing]
        # Two transactions may insert the same rows. Both do it in the order of the key, to avoid
        # deadlocks.
        known.sort(key=lambda n: (rows[n].device_id, rows[n].said_at))
        duplicates = insert(cursor, [rows[n] for n in known]) if known else []
    return InsertOutcome(
        stored=len(known) - len(duplicates),
        duplicates=sorted(known[n] for n in duplicates),
        unknown=[n for n, row in enumerate(rows) if row.device_id in missing] if missing else [],
    )


def statuses_lock(*, device_ids: Collection[int]) -> None:
    """Locks the devices' statuses until the transaction ends. Call it before moving them in several
    steps, which would otherwise lock them out of order and risk deadlocks."""
    with connection.cursor() as cursor:
        devicestatus.lock(cursor, ids=device_ids)


@transaction.atomic
def statuses_move(
    *, heartbeats: Sequence[IncomingHeartbeat] = (), readings: Sequence[IncomingReading] = ()
) -> None:
    """Updates the latest status of devices from their newest live messages.

    Call it at the end of the transaction that inserts the messages. Devices that come online get a
    presence event; statuses_changed is sent on commit.
    """
    beats = {row.device_id: heartbeat.sign_line(row) for row in _filled(heartbeats)}
    reads = {row.device_id: reading.sign_line(row) for row in _youngest(readings).values()}
    if heartbeats and readings:
        statuses_lock(device_ids=beats.keys() | reads.keys())
    with connection.cursor() as cursor:
        _announce(
            "heartbeat",
            devicestatus.move_forward(cursor, signs=beats, columns=heartbeat.SIGN),
        )
        _announce("reading", devicestatus.move_forward(cursor, signs=reads, columns=reading.SIGN))


def _announce(kind: str, moved: Moved) -> None:
    transitions = [_transition(one, kind) for one in moved.returned]
    statuses_announce(changes=moved.steady + transitions_write(transitions=transitions))


def youngest_first(rows: Sequence[Row]) -> list[Row]:
    """Newest first: the order in which a status prefers the messages from its device."""
    return sorted(rows, key=_told_at, reverse=True)


def _youngest(rows: Iterable[Row]) -> dict[int, Row]:
    youngest: dict[int, Row] = {}
    for row in rows:
        best = youngest.get(row.device_id)
        if best is None or _told_at(row) >= _told_at(best):
            youngest[row.device_id] = row
    return youngest


def _filled(rows: Sequence[IncomingHeartbeat]) -> Collection[IncomingHeartbeat]:
    """The newest heartbeat from each device. Missing values are taken from the next newest ones
    that reached us about as fast: a backlog says nothing about the present."""
    youngest = _youngest(rows)
    if len(youngest) == len(rows):
        return rows
    filled = dict(youngest)
    for row in youngest_first(rows):
        best = youngest[row.device_id]
        if row is not best and _delay(row) <= max(_delay(best), NONE) + PROMPT:
            filled[row.device_id] = filled[row.device_id].filled(row)
    return filled.values()


def _delay(row: Incoming) -> timedelta:
    return row.received_at - row.said_at


def _told_at(row: Incoming) -> datetime:
    """The time to sort by: ours if the device's is ahead, because its clock is then wrong."""
    return min(row.said_at, row.received_at)


def _transition(returned: Returned, kind: str) -> PresenceTransition:
    change = returned.change
    reason = reasons.heard(
        kind=kind,
        previous_seen=returned.previous_seen,
        seen=change.state_since,
        address=returned.address,
        battery_pct=change.battery_pct,
        clock_skew_s=returned.clock_skew_s,
    )
    return PresenceTransition(
        device_id=change.device_id,
        time=change.state_since,
        tenant_id=change.tenant_id,
        previous_state=returned.previous_state,
        state=change.state,
        reason=reason,
    )
