"""SQL on telemetry_heartbeat."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import Target, fetch_binary, insert_once, moment, number, text
from telemetry.sql.devicestatus import SignOfLife
from telemetry.sql.windows import backwards, newest

BUCKET = timedelta(seconds=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TARGET = Target(
    table="telemetry_heartbeat",
    columns=(
        *("device_id", "tenant_id", "bucket", "time", "received_at", "address"),
        *("battery_pct", "rssi_dbm", "uptime_s", "version", "vitals"),
    ),
    key=("device_id", "bucket"),
)


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

    @property
    def said_at(self) -> datetime:
        return self.time or self.received_at

    def sign(self) -> SignOfLife:
        return SignOfLife(
            self.device_id,
            self.time,
            self.received_at,
            self.address,
            self.battery_pct,
            self.rssi_dbm,
            self.uptime_s,
            self.version,
            self.vitals,
        )


class StoredHeartbeat(NamedTuple):
    """A heartbeat as it stands in the table; `vitals` is a JSON object as text, or None."""

    bucket: datetime
    time: datetime
    received_at: datetime
    battery_pct: float | None
    rssi_dbm: float | None
    uptime_s: float | None
    version: str | None
    address: str | None
    vitals: str | None


RECENT = """
SELECT time, received_at, battery_pct, rssi_dbm, version, host(address)
FROM telemetry_heartbeat
WHERE device_id = %(device_id)s AND bucket >= %(since)s
ORDER BY bucket DESC LIMIT %(limit)s
"""

PAGE = """
SELECT bucket, time, received_at, battery_pct, rssi_dbm, uptime_s, version, host(address),
       vitals::text
FROM telemetry_heartbeat
WHERE device_id = %(device_id)s AND bucket >= %(start)s AND bucket < %(end)s
ORDER BY bucket DESC LIMIT %(limit)s
"""


def insert(cursor: CursorWrapper, heartbeats: Sequence[IncomingHeartbeat]) -> list[int]:
    """Stores each heartbeat once a device and 10 s; returns the positions of the duplicates."""
    return insert_once(cursor, TARGET, [_line(heartbeat) for heartbeat in heartbeats])


def recent(
    cursor: CursorWrapper, *, device_id: int, until: datetime, interval_s: int, limit: int
) -> Sequence[tuple[object, ...]]:
    """The newest heartbeats of a device: (time, received_at, battery_pct, rssi_dbm, version,
    address), newest first. `until` is when it was heard last, `interval_s` how often it should."""

    def read(since: datetime) -> list[tuple[object, ...]]:
        values = {"device_id": device_id, "since": since, "limit": limit}
        return fetch_binary(cursor, RECENT, values)

    every = max(timedelta(seconds=interval_s), BUCKET)
    return newest(read, until=until, every=every, limit=limit)


def page(
    cursor: CursorWrapper, *, device_id: int, start: datetime, end: datetime, limit: int
) -> list[StoredHeartbeat]:
    """The newest heartbeats of a device with buckets from `start` up to, and without, `end`."""
    rows: list[StoredHeartbeat] = []
    for begin, until in backwards(start, end):
        left = limit - len(rows)
        values = {"device_id": device_id, "start": begin, "end": until, "limit": left}
        rows += [StoredHeartbeat(*row) for row in fetch_binary(cursor, PAGE, values)]
        if len(rows) == limit:
            break
    return rows


def count_by_tenant(cursor: CursorWrapper, *, since: datetime) -> dict[int, int]:
    """How many heartbeats of each tenant we received from `since` on. Reads the whole table."""
    cursor.execute(
        "SELECT tenant_id, count(*) FROM telemetry_heartbeat WHERE received_at >= %s "
        "GROUP BY tenant_id",
        [since],
    )
    return dict(cursor.fetchall())


def _line(heartbeat: IncomingHeartbeat) -> str:
    time = heartbeat.said_at
    bucket = time - (time - EPOCH) % BUCKET
    return "\t".join(
        (
            str(heartbeat.device_id),
            str(heartbeat.tenant_id),
            moment(bucket),
            moment(time),
            moment(heartbeat.received_at),
            text(heartbeat.address),
            number(heartbeat.battery_pct),
            number(heartbeat.rssi_dbm),
            number(heartbeat.uptime_s),
            text(heartbeat.version),
            text(heartbeat.vitals),
        )
    )
