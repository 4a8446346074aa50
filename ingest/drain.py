"""Moves accepted messages from the stream into the database: batch, store, then acknowledge."""

import logging
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

import msgspec
from django.conf import settings
from django.db import DataError, IntegrityError

from ingest import stream
from ingest.stream import HeartbeatEntry, Waiting
from telemetry.heartbeats import heartbeats_store
from telemetry.locks import AdvisoryLock, session_lock

log = logging.getLogger(__name__)

BLOCK_MS = 500


class DrainResult(NamedTuple):
    """What one run of a slot did; `held` is False if another run has the slot."""

    held: bool
    entries: int = 0
    refused: int = 0


class _Decoded(NamedTuple):
    waiting: Waiting
    entry: HeartbeatEntry


def drain_run(*, slot: int, run_s: float) -> DrainResult:
    """Stores what waits in the stream for `run_s` seconds.

    A slot is one consumer of the group and belongs to whoever holds its lock, which dies with the
    database connection. So what an earlier holder left unfinished is read again at once: it can
    not be in the middle of storing it any more, and storing twice changes nothing.
    """
    with session_lock(AdvisoryLock.DRAIN + slot) as held:
        if not held:
            return DrainResult(held=False)
        stream.group_ensure()
        consumer = f"slot-{slot}"
        entries, refused = _drain_left_behind(consumer)
        until = monotonic() + run_s
        while monotonic() < until:
            batch = stream.read_new(consumer, count=settings.INGEST_DRAIN_BATCH, block_ms=BLOCK_MS)
            refused += _store_and_finish(batch)
            entries += len(batch)
        return DrainResult(True, entries, refused)


def _drain_left_behind(consumer: str) -> tuple[int, int]:
    """Stores what this consumer, or one that is gone, was given and did not finish."""
    entries = refused = 0
    count = settings.INGEST_DRAIN_BATCH
    while batch := stream.read_own(consumer, after=b"0", count=count):
        refused += _store_and_finish(batch)
        entries += len(batch)
    while batch := stream.claim_abandoned(consumer, count=count):
        refused += _store_and_finish(batch)
        entries += len(batch)
    return entries, refused


def _store_and_finish(batch: Sequence[Waiting]) -> int:
    """Stores a batch and acknowledges it after the commit; returns how many were refused."""
    if not batch:
        return 0
    decoded, refused = _decode(batch)
    refused += _store(decoded)
    return refused


def _decode(batch: Sequence[Waiting]) -> tuple[list[_Decoded], int]:
    decoded, refused = [], 0
    for waiting in batch:
        try:
            decoded.append(_Decoded(waiting, stream.entry_decode(waiting.data)))
        except msgspec.DecodeError as error:
            _refuse(waiting, error)
            refused += 1
    return decoded, refused


def _store(decoded: Sequence[_Decoded]) -> int:
    """Stores entries in one transaction; those that the database refuses are found by halving."""
    if not decoded:
        return 0
    try:
        heartbeats_store(heartbeats=[one.entry.row() for one in decoded])
    except (DataError, IntegrityError) as error:
        if len(decoded) == 1:
            _refuse(decoded[0].waiting, error)
            return 1
        middle = len(decoded) // 2
        return _store(decoded[:middle]) + _store(decoded[middle:])
    stream.finish([one.waiting.entry_id for one in decoded])
    return 0


def _refuse(waiting: Waiting, error: Exception) -> None:
    log.error("entry %s cannot be stored and is set aside: %s", waiting.entry_id, error)
    stream.refuse(waiting, reason=str(error))
