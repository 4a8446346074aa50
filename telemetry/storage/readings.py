"""Stores readings in history."""

from collections.abc import Sequence

from telemetry.sql import reading
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import InsertOutcome, batch_insert


def readings_insert(readings: Sequence[IncomingReading]) -> InsertOutcome:
    """Stores one reading per device, time and type. Storing it again changes nothing."""
    return batch_insert(rows=readings, insert=reading.insert)
