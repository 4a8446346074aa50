"""SQL on telemetry_heartbeat, and the table of a session in which a batch of them arrives."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper


class IncomingHeartbeat(NamedTuple):
    """A heartbeat on its way into the table.

    `time` is the device's clock, None if it sent none; `vitals` is a JSON object as text. Units
    are those of telemetry.models.Heartbeat.
    """

    device_id: int
    tenant_id: int
    time: datetime | None
    received_at: datetime
    address: str | None
    battery_pct: float | None
    rssi_dbm: float | None
    uptime_s: float | None
    version: str | None
    vitals: str | None


COLUMNS = ", ".join(IncomingHeartbeat._fields)

CREATE_INCOMING = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_heartbeat (
    device_id integer, tenant_id integer, time timestamptz, received_at timestamptz, address inet,
    battery_pct float8, rssi_dbm float8, uptime_s float8, version text, vitals jsonb
) ON COMMIT DELETE ROWS
"""

# A device deleted meanwhile has no status row; its heartbeats are counted, not stored.
INSERT_INCOMING = f"""
INSERT INTO telemetry_heartbeat (bucket, {COLUMNS})
SELECT date_bin('10 s', coalesce(i.time, i.received_at), 'epoch'), i.device_id, i.tenant_id,
       coalesce(i.time, i.received_at), i.received_at, i.address, i.battery_pct, i.rssi_dbm,
       i.uptime_s, i.version, i.vitals
FROM incoming_heartbeat i
WHERE EXISTS (SELECT FROM telemetry_devicestatus s WHERE s.device_id = i.device_id)
ORDER BY i.device_id, 1
ON CONFLICT (device_id, bucket) DO NOTHING
"""

COUNT_OF_UNKNOWN = """
SELECT count(*) FROM incoming_heartbeat i
WHERE NOT EXISTS (SELECT FROM telemetry_devicestatus s WHERE s.device_id = i.device_id)
"""


def copy_incoming(cursor: CursorWrapper, rows: Iterable[IncomingHeartbeat]) -> None:
    """Fills incoming_heartbeat with these rows alone; it is emptied when the transaction ends."""
    cursor.execute(CREATE_INCOMING)
    cursor.execute("DELETE FROM incoming_heartbeat")
    with cursor.copy(f"COPY incoming_heartbeat ({COLUMNS}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def insert_incoming(cursor: CursorWrapper) -> int:
    """Stores what arrived, once a device and 10 s; returns how many rows are new."""
    cursor.execute(INSERT_INCOMING)
    return cursor.rowcount


def count_of_unknown(cursor: CursorWrapper) -> int:
    """How many of those that arrived are of devices that do not exist any more."""
    cursor.execute(COUNT_OF_UNKNOWN)
    return int(cursor.fetchone()[0])


def recent(cursor: CursorWrapper, *, device_id: int, limit: int) -> Sequence[tuple[object, ...]]:
    """The newest heartbeats of a device: (time, received_at, battery_pct, rssi_dbm, version,
    address), newest first."""
    cursor.execute(
        "SELECT time, received_at, battery_pct, rssi_dbm, version, host(address) "
        "FROM telemetry_heartbeat WHERE device_id = %s ORDER BY bucket DESC LIMIT %s",
        [device_id, limit],
    )
    return cursor.fetchall()
