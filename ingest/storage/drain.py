"""Moves accepted messages from the stream into the database: reads a batch, stores it, and takes it
out of the stream.

One transaction stores a batch, what became of its messages (the ledger), and the position in the
stream. So every entry counts exactly once, whenever a process dies: an entry up to the position is
stored already, and is only taken out of the stream.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import date
from functools import partial
from time import monotonic, sleep
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.db import DataError, IntegrityError, transaction

from devices.fleet.registration import pending_among
from ingest.ledger.balances import (
    Tally,
    accepted_collect,
    position_ensure,
    position_read,
    position_write,
    tally_write,
)
from ingest.storage.rejected import NOT_APPROVED, Reason, Rejection, rejections_write
from ingest.storage.rows import error_words, minute_key, rows_insert, stored_once_more
from ingest.stream import shards
from ingest.stream.entries import Entry, HeartbeatEntry, decode
from ingest.stream.shards import Finished, Waiting
from telemetry.locks import AdvisoryLock, session_lock
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import InsertOutcome, statuses_lock, statuses_move, youngest_first
from telemetry.storage.heartbeats import heartbeats_insert
from telemetry.storage.readings import readings_insert

log = logging.getLogger(__name__)

BLOCK_MS = 250
COLLECT_EVERY_S = 1.0
# How many entries a run reads first, before it knows how large they are.
FIRST_ENTRIES = 100
BYTES_AT_ONCE = 16 * 1024 * 1024
DAYS_AT_ONCE = 200
# A transaction costs as much as storing a few hundred entries, so after a small batch the drain
# waits for more: 20 transactions a second instead of 100, for a delay of 50 ms.
GATHER_BELOW = 500
GATHER_S = 0.05

_Heartbeats = Sequence[IncomingHeartbeat]
_Readings = Sequence[IncomingReading]
_Store = Callable[[_Heartbeats, _Readings, Tally], list[Rejection]]


class _Read(NamedTuple):
    waiting: Waiting
    entry: Entry

    def finished(self) -> Finished:
        size = len(self.waiting.data)
        return Finished(self.waiting.entry_id, size, self.entry.count, self.entry.tenant_id)


def drain_run(*, shard: int, run_s: float, turn: str | None = None) -> str | None:
    """Drains a shard for `run_s` seconds; returns the turn for its successor.

    Returns None if another drain holds the shard or has taken this one's `turn`, and if the shard
    is beyond INGEST_SHARDS and empty. A drain holds the shard's lock, which dies with its database
    connection. So entries that an earlier drain left unfinished can be read again at once: its
    transaction can no longer commit.
    """
    with session_lock(AdvisoryLock.DRAIN + shard) as held:
        next_turn = shards.turn_take(shard, turn) if held else None
        if next_turn is None:
            return None
        drain = _Drain(shard)
        drain.finish_left()
        until = monotonic() + run_s
        while monotonic() < until:
            batch = shards.read_new(shard, count=drain.entries_at_once, block_ms=BLOCK_MS)
            drain.store(batch)
            drain.collect()
            if not batch and shard >= settings.INGEST_SHARDS:
                return None
            if 0 < len(batch) < GATHER_BELOW:
                sleep(GATHER_S)
        return next_turn


class _Drain:
    """One run over a shard, whose lock the caller holds."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.identity = shards.identity_ensure(shard)
        position_ensure(shard=shard, identity=self.identity)
        self.position = self._position()
        self.entries_at_once = FIRST_ENTRIES
        self._collected_at = 0.0

    def _position(self) -> tuple[int, int]:
        """The last stored entry of this stream.

        If the stream has no entry that new, Valkey has lost its latest entries, for example with a
        restored backup. New entries could then get ids below the position, and would be taken out
        without being stored. So the stream gets a new identity and starts from 0. Entries that are
        stored again count as duplicates.
        """
        position = _entry_order(position_read(shard=self.shard, identity=self.identity))
        if position <= _entry_order(shards.last_id(self.shard)):
            return position
        log.error("shard %d is older than its last stored entry", self.shard)
        self.identity = shards.identity_renew(self.shard)
        return (0, 0)

    def finish_left(self) -> None:
        """Stores or takes out entries that an earlier run read but did not finish."""
        while left := shards.read_left(self.shard, after=b"0", count=self.entries_at_once):
            self.store(left)

    def store(self, batch: Sequence[Waiting]) -> None:
        """Stores a batch of entries in one transaction, and takes them out of the stream."""
        if not batch:
            return
        with _uncollected():
            self._store(batch)

    def _store(self, batch: Sequence[Waiting]) -> None:
        read = self._read(batch)
        new = [one for one in read if _entry_order(one.waiting.entry_id) > self.position]
        for part in _parts(new):
            last_id = part[-1].waiting.entry_id
            self._store_part([one.entry for one in part], last_id)
            self.position = _entry_order(last_id)
        shards.finish(self.shard, [one.finished() for one in read])
        self._adapt(read)

    def collect(self) -> None:
        """Brings the ledger's accepted counts up to date, about once a second."""
        if monotonic() - self._collected_at >= COLLECT_EVERY_S:
            accepted_collect(shard=self.shard)
            self._collected_at = monotonic()

    def _read(self, batch: Sequence[Waiting]) -> list[_Read]:
        read = []
        for waiting in batch:
            try:
                read.append(_Read(waiting, decode(waiting.data)))
            except msgspec.DecodeError as error:
                log.error("entry %s cannot be read and is set aside: %s", waiting.entry_id, error)
                shards.set_aside(self.shard, waiting)
        return read

    def _store_part(self, entries: Sequence[Entry], last_id: bytes) -> None:
        """Stores entries. If a status refuses a message that history accepted, stores them again,
        each message with its status, to find the one that is refused."""
        try:
            stored_once_more(partial(self._store_new, entries, last_id, _together))
        except (DataError, IntegrityError) as error:
            log.warning("a batch is stored message by message: %s", error_words(error))
            stored_once_more(partial(self._store_new, entries, last_id, _each_with_its_status))

    @transaction.atomic
    def _store_new(self, entries: Sequence[Entry], last_id: bytes, store: _Store) -> None:
        tally = Tally()
        heartbeats, readings, held = _rows(entries)
        tally.rejected.update(map(minute_key, held))
        rejections = [Rejection(row, Reason.PENDING_DEVICE, NOT_APPROVED) for row in held]
        rejections += store(heartbeats, readings, tally)
        rejections_write(shard=self.shard, rejections=rejections)
        tally_write(shard=self.shard, tally=tally)
        position_write(shard=self.shard, identity=self.identity, entry_id=last_id.decode())

    def _adapt(self, read: Sequence[_Read]) -> None:
        """Sets how many entries to read next, for about INGEST_DRAIN_BATCH messages and at most
        BYTES_AT_ONCE: an entry holds one message or thousands."""
        if read:
            messages = sum(one.entry.count for one in read) / len(read)
            size = sum(len(one.waiting.data) for one in read) / len(read)
            fitting = min(settings.INGEST_DRAIN_BATCH / max(1, messages), BYTES_AT_ONCE / size)
            self.entries_at_once = max(1, min(round(fitting), 2 * self.entries_at_once))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pauses the garbage collector. A batch has hundreds of thousands of objects without cycles,
    all alive until it is stored, and the collector would scan them several times for nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parts(read: Sequence[_Read]) -> Iterator[list[_Read]]:
    """Cuts the entries into parts of about DAYS_AT_ONCE different days at most: a transaction locks
    each chunk that it writes to, and the number of locks is limited."""
    part: list[_Read] = []
    days: set[date] = set()
    for one in read:
        part.append(one)
        days.update(one.entry.days)
        if len(days) >= DAYS_AT_ONCE:
            yield part
            part, days = [], set()
    if part:
        yield part


def _together(heartbeats: _Heartbeats, readings: _Readings, tally: Tally) -> list[Rejection]:
    """Stores all history, then all statuses."""
    beats = rows_insert(heartbeats, heartbeats_insert, tally)
    measured = rows_insert(readings, readings_insert, tally)
    statuses_move(heartbeats=beats.shown, readings=measured.shown)
    return beats.rejections + measured.rejections


def _each_with_its_status(
    heartbeats: _Heartbeats, readings: _Readings, tally: Tally
) -> list[Rejection]:
    """Slower than _together, but finds messages that only the status refuses. The newest come
    first: an older message cannot move a status that a newer one has moved."""

    def heartbeats_store(rows: _Heartbeats) -> InsertOutcome[IncomingHeartbeat]:
        outcome = heartbeats_insert(rows)
        statuses_move(heartbeats=outcome.shown(rows))
        return outcome

    def readings_store(rows: _Readings) -> InsertOutcome[IncomingReading]:
        outcome = readings_insert(rows)
        statuses_move(readings=outcome.shown(rows))
        return outcome

    statuses_lock(
        device_ids={row.device_id for row in heartbeats} | {row.device_id for row in readings}
    )
    beats = rows_insert(youngest_first(heartbeats), heartbeats_store, tally)
    measured = rows_insert(youngest_first(readings), readings_store, tally)
    return beats.rejections + measured.rejections


def _rows(
    entries: Sequence[Entry],
) -> tuple[
    list[IncomingHeartbeat], list[IncomingReading], list[IncomingHeartbeat | IncomingReading]
]:
    """The heartbeats and the readings to store, and the rows of devices not approved yet."""
    heartbeats: list[Any] = []
    readings: list[Any] = []
    held: list[Any] = []
    pending = _pending_devices(entries)
    for entry in entries:
        rows = heartbeats if isinstance(entry, HeartbeatEntry) else readings
        if not entry.is_pending:
            rows.extend(entry.rows())
        for row in entry.rows() if entry.is_pending else ():
            (held if row.device_id in pending else rows).append(row)
    return heartbeats, readings, held


def _pending_devices(entries: Sequence[Entry]) -> Set[int]:
    """Devices that were pending when their message arrived, and still are."""
    ids = {row.device_id for entry in entries if entry.is_pending for row in entry.rows()}
    return pending_among(ids=ids) if ids else ids


def _entry_order(entry_id: bytes | str) -> tuple[int, int]:
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)
