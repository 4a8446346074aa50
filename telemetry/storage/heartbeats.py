"""Stores heartbeats in history."""

from collections.abc import Sequence

from telemetry.sql import heartbeat
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.storage.batches import InsertOutcome, batch_insert


def heartbeats_insert(heartbeats: Sequence[IncomingHeartbeat]) -> InsertOutcome:
    """Stores one heartbeat per device and 10 s. Storing it again changes nothing."""
    return batch_insert(rows=heartbeats, insert=heartbeat.insert)
