"""Stores a batch of messages of one kind, and moves the latest status of their devices."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from telemetry import reasons
from telemetry.presence import statuses_announce, transitions_write
from telemetry.sql import devicestatus
from telemetry.sql.devicestatus import Heard, SignOfLife
from telemetry.sql.presenceevent import PresenceTransition


class Incoming(Protocol):
    """A message on its way into a hypertable; `said_at` is its time by the device's clock."""

    @property
    def device_id(self) -> int: ...
    @property
    def said_at(self) -> datetime: ...
    @property
    def received_at(self) -> datetime: ...
    def sign(self) -> SignOfLife: ...


Row = TypeVar("Row", bound=Incoming)
Insert = Callable[[CursorWrapper, Sequence[Row]], list[int]]


class StoreOutcome(NamedTuple):
    """`stored + len(duplicates) + len(unknown)` is the batch's length.

    `duplicates` and `unknown` are positions in the batch: messages that were there already, and
    messages of devices that do not exist any more.
    """

    stored: int
    duplicates: Sequence[int]
    unknown: Sequence[int]


def devices_lock(*, ids: Collection[int]) -> None:
    """Locks the latest status of devices until the transaction ends.

    For those who store several batches in one transaction: to lock batch by batch would be to
    lock in another order than others do, and they would wait for each other for ever.
    """
    with connection.cursor() as cursor:
        devicestatus.lock(cursor, ids=ids)


@transaction.atomic
def batch_store(
    *, rows: Sequence[Row], kind: str, insert: "Insert[Row]", backfill: bool = False
) -> StoreOutcome:
    """Inserts each row once and applies the youngest of each device to its status.

    `kind` is what a row is called in words. Devices that come online get a presence event;
    statuses_changed is sent on commit. With `backfill` no status is touched: the rows tell nothing
    of now.
    """
    youngest = _youngest(rows)
    with connection.cursor() as cursor:
        existing = devicestatus.existing(cursor, ids=youngest.keys())
        known = [n for n, row in enumerate(rows) if row.device_id in existing]
        # Two transactions that insert the same rows wait for each other's; in one order, that is
        # the order of the key, never for ever. Devices are locked after it, since most of the time
        # goes into inserting, and batches of all shards have devices in common.
        known.sort(key=lambda n: (rows[n].device_id, rows[n].said_at))
        duplicates = insert(cursor, [rows[n] for n in known]) if known else []
        living = () if backfill else youngest.values()
        signs = [row.sign() for row in living if row.device_id in existing]
        heard = devicestatus.move_forward(cursor, signs=signs) if signs else []
    returned = [_transition(one, kind) for one in heard if one.previous_state != one.change.state]
    steady = [one.change for one in heard if one.previous_state == one.change.state]
    statuses_announce(changes=steady + transitions_write(transitions=returned))
    return StoreOutcome(
        stored=len(known) - len(duplicates),
        duplicates=sorted(known[n] for n in duplicates),
        unknown=sorted(set(range(len(rows))).difference(known)),
    )


def _youngest(rows: Sequence[Row]) -> dict[int, Row]:
    youngest: dict[int, Row] = {}
    for row in rows:
        best = youngest.get(row.device_id)
        if best is None or _told_at(row) >= _told_at(best):
            youngest[row.device_id] = row
    return youngest


def _told_at(row: Incoming) -> datetime:
    """A time ahead of ours is a wrong clock's, and says nothing of the order."""
    return min(row.said_at, row.received_at)


def _transition(heard: Heard, kind: str) -> PresenceTransition:
    change = heard.change
    reason = reasons.heard(
        kind=kind,
        previous_seen=heard.previous_seen,
        seen=change.state_since,
        address=heard.address,
        battery_pct=change.battery_pct,
        clock_skew_s=heard.clock_skew_s,
    )
    return PresenceTransition(
        device_id=change.device_id,
        time=change.state_since,
        tenant_id=change.tenant_id,
        previous_state=heard.previous_state,
        state=change.state,
        reason=reason,
    )
