"""Stores heartbeats: history, latest status and presence, in one transaction."""

from collections.abc import Sequence

from telemetry.batches import StoreOutcome, batch_store
from telemetry.sql import heartbeat
from telemetry.sql.heartbeat import IncomingHeartbeat


def heartbeats_store(
    *, heartbeats: Sequence[IncomingHeartbeat], backfill: bool = False
) -> StoreOutcome:
    """Stores each heartbeat once a device and 10 s, and moves latest status forward.

    A heartbeat that is old by its device's clock is stored and touches no status; with `backfill`
    none does. Storing a batch again changes nothing.
    """
    return batch_store(
        rows=heartbeats, kind="heartbeat", insert=heartbeat.insert, backfill=backfill
    )
