"""Stores readings: history, latest status and presence, in one transaction."""

from collections.abc import Sequence

from telemetry.batches import StoreOutcome, batch_store
from telemetry.sql import reading
from telemetry.sql.reading import IncomingReading


def readings_store(*, readings: Sequence[IncomingReading], backfill: bool = False) -> StoreOutcome:
    """Stores each reading once a device, time and type, and moves latest status forward.

    A reading that is old by its device's clock is stored and touches no status; with `backfill`
    none does. Storing a batch again changes nothing.
    """
    return batch_store(rows=readings, kind="reading", insert=reading.insert, backfill=backfill)
