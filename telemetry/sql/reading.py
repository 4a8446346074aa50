"""SQL for telemetry_reading."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import NULL, Target, insert_once, json, moment, text

TARGET = Target(
    table="telemetry_reading",
    columns=(
        *("device_id", "tenant_id", "time", "received_at"),
        *("seq", "msg_type", "site", "metrics"),
    ),
    key=("device_id", "time", "msg_type"),
)
SIGN = ("device_id", "time", "received_at", "metrics")


class IncomingReading(NamedTuple):
    """A reading on its way into the table. `metrics` is a JSON object as UTF-8."""

    device_id: int
    tenant_id: int
    time: datetime
    received_at: datetime
    seq: int | None
    msg_type: str
    site: str | None
    metrics: bytes

    @property
    def said_at(self) -> datetime:
        return self.time


def insert(cursor: CursorWrapper, readings: Sequence[IncomingReading]) -> list[int]:
    """Stores each reading once; returns the positions of the duplicates."""
    return insert_once(cursor, TARGET, [_line(reading) for reading in readings])


class NodeLatest(NamedTuple):
    """The latest reading from a probe. `metrics` is the JSON object that it sent; `time` and
    `region` are None if the reading is no longer stored."""

    id: int
    node_id: str
    name: str
    region: str | None
    time: datetime | None
    received_at: datetime
    metrics: dict[str, Any]


# The status has the metrics and when we received them. The reading itself is found by its own time,
# which is in the primary key and as close to ours as LIVE in telemetry.sql.devicestatus requires.
# That window is computed first, because conditions that call a function are not pushed through a
# scope's view to the index.
LATEST_OF_PROBES = """
WITH probe AS MATERIALIZED (
    SELECT d.id, d.device_id, d.name, s.last_reading_at, s.metrics,
           s.last_reading_at - make_interval(
               secs => s.interval_s + s.grace_s + abs(coalesce(s.clock_skew_s, 0)) + 10
           ) AS earliest,
           s.last_reading_at + interval '1 day 10 s' AS latest
    FROM devices_device d JOIN telemetry_devicestatus s ON s.device_id = d.id
    WHERE d.kind = 'probe'
      AND s.last_reading_at > %(since)s
      AND d.id > %(after)s
      AND (%(own)s::integer IS NULL OR d.id = %(own)s)
    ORDER BY d.id
    LIMIT %(limit)s
)
SELECT p.id, p.device_id, p.name, r.site, r.time, p.last_reading_at, p.metrics
FROM probe p
LEFT JOIN LATERAL (
    SELECT site, time FROM telemetry_reading
    WHERE device_id = p.id
      AND time >= p.earliest AND time <= p.latest
      AND received_at = p.last_reading_at
    ORDER BY time DESC
    LIMIT 1
) r ON true
ORDER BY p.id
"""


def latest_of_probes(
    cursor: CursorWrapper, *, since: datetime, own: int | None, after: int, limit: int
) -> list[NodeLatest]:
    """The latest reading since `since` from each probe in the scope, sorted by our id and starting
    after the id `after`; only that of the device with the id `own`, if given."""
    given = {"since": since, "own": own, "after": after, "limit": limit}
    cursor.execute(LATEST_OF_PROBES, given)
    return [
        NodeLatest._make((*row[:-1], msgspec.json.decode(row[-1]))) for row in cursor.fetchall()
    ]


def count_by_tenant(cursor: CursorWrapper, *, since: datetime) -> dict[int, int]:
    """How many readings we received from each tenant since `since`. Reads the whole table."""
    cursor.execute(
        "SELECT tenant_id, count(*) FROM telemetry_reading WHERE received_at >= %s "
        "GROUP BY tenant_id",
        [since],
    )
    return dict(cursor.fetchall())


def sign_line(reading: IncomingReading) -> str:
    """The columns of SIGN in COPY's text format."""
    return (
        f"{reading.device_id}\t{moment(reading.time)}\t{moment(reading.received_at)}\t"
        f"{json(reading.metrics.decode())}"
    )


def _line(reading: IncomingReading) -> str:
    # The hot path: this runs a million times a minute.
    device_id, tenant_id, time, received_at, seq, msg_type, site, metrics = reading
    return (
        f"{device_id}\t{tenant_id}\t{moment(time)}\t{moment(received_at)}\t"
        f"{NULL if seq is None else seq}\t{text(msg_type)}\t{text(site)}\t"
        f"{json(metrics.decode())}"
    )
