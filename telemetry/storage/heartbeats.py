"""Stores heartbeats in history."""

from collections.abc import Sequence

from telemetry.sql import heartbeat
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.storage.batches import InsertOutcome, batch_insert


def heartbeats_insert(heartbeats: Sequence[IncomingHeartbeat]) -> InsertOutcome[IncomingHeartbeat]:
    """Stores one row per device and 10 s. Storing a heartbeat again changes nothing."""
    return batch_insert(rows=heartbeats, insert=heartbeat.insert)
