"""SQL on telemetry_reading."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import NULL, Target, insert_once, json, moment, text
from telemetry.sql.devicestatus import SignOfLife

TARGET = Target(
    table="telemetry_reading",
    columns=(
        *("device_id", "tenant_id", "time", "received_at"),
        *("seq", "msg_type", "site", "metrics"),
    ),
    key=("device_id", "time", "msg_type"),
)


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

    def sign(self) -> SignOfLife:
        return SignOfLife(
            self.device_id, self.time, self.received_at, None, metrics=self.metrics.decode()
        )


def insert(cursor: CursorWrapper, readings: Sequence[IncomingReading]) -> list[int]:
    """Stores each reading once; returns the positions of the duplicates."""
    return insert_once(cursor, TARGET, [_line(reading) for reading in readings])


class NodeLatest(NamedTuple):
    """The latest reading of a probe; `metrics` is the JSON object that it sent."""

    id: int
    node_id: str
    name: str
    region: str | None
    time: datetime
    received_at: datetime
    metrics: dict[str, Any]


# By the primary key of each device, so that it reads one row a probe.
LATEST_OF_PROBES = """
SELECT d.id, d.device_id, d.name, r.site, r.time, r.received_at, r.metrics
FROM devices_device d
CROSS JOIN LATERAL (
    SELECT site, time, received_at, metrics FROM telemetry_reading
    WHERE device_id = d.id AND time > %(since)s
    ORDER BY time DESC
    LIMIT 1
) r
WHERE d.kind = 'probe' AND d.id > %(after)s AND (%(own)s::integer IS NULL OR d.id = %(own)s)
ORDER BY d.id
LIMIT %(limit)s
"""


def latest_of_probes(
    cursor: CursorWrapper, *, since: datetime, own: int | None, after: int, limit: int
) -> list[NodeLatest]:
    """The latest reading since then of each probe in the scope, in the order of our ids, beginning
    behind `after`; of one device alone if `own` is its id."""
    given = {"since": since, "own": own, "after": after, "limit": limit}
    cursor.execute(LATEST_OF_PROBES, given)
    return [
        NodeLatest._make((*row[:-1], msgspec.json.decode(row[-1]))) for row in cursor.fetchall()
    ]


def count_by_tenant(cursor: CursorWrapper, *, since: datetime) -> dict[int, int]:
    """How many readings of each tenant we received from `since` on. Reads the whole table."""
    cursor.execute(
        "SELECT tenant_id, count(*) FROM telemetry_reading WHERE received_at >= %s "
        "GROUP BY tenant_id",
        [since],
    )
    return dict(cursor.fetchall())


def _line(reading: IncomingReading) -> str:
    # The hot path: a million times a minute.
    device_id, tenant_id, time, received_at, seq, msg_type, site, metrics = reading
    return (
        f"{device_id}\t{tenant_id}\t{moment(time)}\t{moment(received_at)}\t"
        f"{NULL if seq is None else seq}\t{text(msg_type)}\t{text(site)}\t"
        f"{json(metrics.decode())}"
    )
