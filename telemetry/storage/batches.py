"""Stores batches of messages: first the history, then the latest status of their devices.

History takes most of the time, and batches of all shards share devices. Locking their status rows
first would keep the other shards waiting all that time.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from telemetry.presence import reasons
from telemetry.presence.transitions import statuses_announce, transitions_write
from telemetry.sql import devicestatus, heartbeat, reading
from telemetry.sql.devicestatus import Moved, Returned
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.joining import Became, Join
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
Insert = Callable[[CursorWrapper, Sequence[Row]], dict[int, Join[Row]]]

# How much the delays of two messages may differ if both were sent immediately.
NONE, PROMPT = timedelta(0), timedelta(seconds=5)


class InsertOutcome(NamedTuple, Generic[Row]):
    """What became of a batch, by position in it; all other messages have a row of their own.

    `joins` are messages whose key was taken, `unknown` those from devices that no longer exist.
    """

    joins: Mapping[int, Join[Row]]
    unknown: Sequence[int]

    def shown(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The batch's messages as they are stored, which is what a status may show."""
        left_out = set(self.unknown)
        left_out |= {n for n, one in self.joins.items() if one.became is Became.TOO_WIDE}
        conflicts = {n: one for n, one in self.joins.items() if one.became is Became.CONFLICT}
        if not left_out and not conflicts:
            return rows
        return [
            conflicts[n].as_stored if n in conflicts else row
            for n, row in enumerate(rows)
            if n not in left_out
        ]


@transaction.atomic
def batch_insert(*, rows: Sequence[Row], insert: "Insert[Row]") -> InsertOutcome[Row]:
    """Inserts each row once, joining rows with the same key; skips rows of devices that do not
    exist."""
    with connection.cursor() as cursor:
        missing = devicestatus.missing(cursor, ids={row.device_id for row in rows})
        if not missing:
            return InsertOutcome(insert(cursor, rows), ())
        known = [n for n, row in enumerate(rows) if row.device_id not in missing]
        joins = insert(cursor, [rows[n] for n in known]) if known else {}
    return InsertOutcome(
        {known[n]: join for n, join in joins.items()},
        [n for n, row in enumerate(rows) if row.device_id in missing],
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
    youngest = _youngest(readings)
    others = _others(readings, youngest) if len(youngest) < len(readings) else {}
    reads = {
        device_id: reading.sign_line(row, others.get(device_id))
        for device_id, row in youngest.items()
    }
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


def _others(
    rows: Iterable[IncomingReading], youngest: Mapping[int, IncomingReading]
) -> dict[int, bytes]:
    """Metrics that a device's youngest reading does not have, from its other readings in the batch,
    as {name: [value, time]} in JSON. Usually all readings have the same names, and none are left.
    """
    others: dict[int, dict[str, tuple[Any, str]]] = {}
    for row in rows:
        if row.names != youngest[row.device_id].names:
            told_at = _utc_text(_told_at(row))
            seen = others.setdefault(row.device_id, {})
            for name, value in msgspec.json.decode(row.metrics).items():
                if name not in seen or seen[name][1] <= told_at:
                    seen[name] = (value, told_at)
    return {device_id: msgspec.json.encode(_newest(seen)) for device_id, seen in others.items()}


def _newest(seen: dict[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """At most MOST_OLDER of the values."""
    if len(seen) <= devicestatus.MOST_OLDER:
        return seen
    by_time = sorted(seen.items(), key=lambda item: item[1][1], reverse=True)
    return dict(by_time[: devicestatus.MOST_OLDER])


def _utc_text(time: datetime) -> str:
    """Always of the same length, so that the order of texts is that of times."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
