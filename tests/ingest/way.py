"""Takes messages from the stream to the database, without the servers."""

from datetime import UTC, datetime, timedelta

from devices.models import Device
from ingest.ledger.balances import COUNTED
from ingest.models import LedgerMinute
from ingest.storage.drain import drain_run
from ingest.stream import shards
from ingest.stream.entries import EntryReading, HeartbeatEntry, ReadingsEntry
from tests.conftest import Fleet

BODY = b'{"temp_c": 21.5}'
# PostgreSQL has no text with U+0000. The door refuses this; older doors may not have.
REFUSED = b'{"text": "a\\u0000b"}'


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def drain() -> None:
    assert drain_run(shard=0, run_s=0.05) is not None


def reading(device: Device, time: datetime, metrics: bytes = BODY) -> EntryReading:
    return EntryReading(device.pk, time, None, "telemetry", None, metrics)


def append(
    fleet: Fleet,
    *readings: EntryReading,
    received_at: datetime | None = None,
    is_pending: bool = False,
) -> None:
    """Accepts readings of the fleet's devices in one request."""
    at = received_at or now()
    shards.append(ReadingsEntry(fleet.tenant.pk, at, None, list(readings), is_pending))


def append_heartbeat(device: Device, received_at: datetime, *, is_pending: bool = False) -> None:
    entry = HeartbeatEntry(device.tenant_id, received_at, None, device.pk, is_pending=is_pending)
    shards.append(entry)


def seconds_ago(seconds: float) -> datetime:
    return now() - timedelta(seconds=seconds)


def ledger(fleet: Fleet) -> dict[str, int]:
    """The tenant's sums that are not 0."""
    rows = list(LedgerMinute.objects.filter(tenant=fleet.tenant))
    names = ("accepted", *COUNTED)
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    return {name: count for name, count in sums.items() if count}
