"""Stores messages directly in the database, and holds the locks that storing takes."""

from collections.abc import Sequence

from django.db import connection, transaction

from telemetry.sql import devicestatus
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import InsertOutcome, statuses_move
from telemetry.storage.heartbeats import heartbeats_insert
from telemetry.storage.readings import readings_insert


@transaction.atomic
def heartbeats_store(*, heartbeats: Sequence[IncomingHeartbeat]) -> InsertOutcome:
    outcome = heartbeats_insert(heartbeats)
    statuses_move(heartbeats=heartbeats)
    return outcome


@transaction.atomic
def readings_store(*, readings: Sequence[IncomingReading]) -> InsertOutcome:
    outcome = readings_insert(readings)
    statuses_move(readings=readings)
    return outcome


@transaction.atomic
def device_lock(device_id: int) -> None:
    """Locks the device's status until the transaction ends."""
    with connection.cursor() as cursor:
        devicestatus.lock(cursor, ids=[device_id])
