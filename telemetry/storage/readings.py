"""Stores readings in history."""

from collections.abc import Sequence

from telemetry.sql import reading
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import InsertOutcome, batch_insert


def readings_insert(readings: Sequence[IncomingReading]) -> InsertOutcome[IncomingReading]:
    """Stores one row per device, time and type. Storing a reading again changes nothing."""
    return batch_insert(rows=readings, insert=reading.insert)
