"""Stores messages directly in the database, and holds the locks that storing takes."""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from telemetry.sql import devicestatus
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import InsertOutcome, statuses_move
from telemetry.storage.heartbeats import heartbeats_insert
from telemetry.storage.readings import readings_insert


def became(outcome: InsertOutcome[Any]) -> dict[int, str]:
    """What became of the messages that have no row of their own, by position."""
    return {n: join.became.value for n, join in outcome.joins.items()} | dict.fromkeys(
        outcome.unknown, "unknown"
    )


@transaction.atomic
def heartbeats_store(
    *, heartbeats: Sequence[IncomingHeartbeat]
) -> InsertOutcome[IncomingHeartbeat]:
    outcome = heartbeats_insert(heartbeats)
    statuses_move(heartbeats=outcome.shown(heartbeats))
    return outcome


@transaction.atomic
def readings_store(*, readings: Sequence[IncomingReading]) -> InsertOutcome[IncomingReading]:
    outcome = readings_insert(readings)
    statuses_move(readings=outcome.shown(readings))
    return outcome


@transaction.atomic
def device_lock(device_id: int) -> None:
    """Locks the device's status until the transaction ends."""
    with connection.cursor() as cursor:
        devicestatus.lock(cursor, ids=[device_id])
