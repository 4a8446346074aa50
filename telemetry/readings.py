"""Stores readings in history."""

from collections.abc import Sequence

from telemetry.batches import InsertOutcome, batch_insert
from telemetry.sql import reading
from telemetry.sql.reading import IncomingReading


def readings_insert(readings: Sequence[IncomingReading]) -> InsertOutcome:
    """Stores each reading once a device, time and type. Doing it again changes nothing."""
    return batch_insert(rows=readings, insert=reading.insert)
