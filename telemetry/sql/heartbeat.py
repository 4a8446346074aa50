"""SQL for telemetry_heartbeat."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import Target, fetch_binary, insert_once, json, moment, text, vitals_cells
from telemetry.sql.windows import backwards, newest
from telemetry.vitals import NAMES, Value

BUCKET = timedelta(seconds=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TARGET = Target(
    table="telemetry_heartbeat",
    columns=(
        *("device_id", "tenant_id", "bucket", "time", "received_at", "address"),
        *NAMES,
        "vitals",
    ),
    key=("device_id", "bucket"),
)
SIGN = ("device_id", "time", "received_at", "address", *NAMES, "vitals")


class IncomingHeartbeat(NamedTuple):
    """A heartbeat on its way into the table.

    `time` is the device's clock, None if it sent none; `named` are the vitals in the order of
    NAMED_VITALS, `vitals` is a JSON object as text.
    """

    device_id: int
    tenant_id: int
    time: datetime | None
    received_at: datetime
    address: str | None
    named: tuple[Value, ...]
    vitals: str | None

    @property
    def said_at(self) -> datetime:
        return self.time or self.received_at

    def filled(self, other: "IncomingHeartbeat") -> "IncomingHeartbeat":
        """Fills missing values from another heartbeat of the same device. A missing time becomes
        `received_at` plus the clock skew of the other heartbeat."""
        return self._replace(
            time=self.time or (other.time and self.received_at + (other.time - other.received_at)),
            address=self.address or other.address,
            named=tuple(
                theirs if own is None else own
                for own, theirs in zip(self.named, other.named, strict=True)
            ),
            vitals=self.vitals or other.vitals,
        )


class StoredHeartbeat(NamedTuple):
    """A row of the table: `named` are the named vitals by name, `vitals` is a JSON object as text,
    or None."""

    bucket: datetime
    time: datetime
    received_at: datetime
    address: str | None
    vitals: str | None
    named: Mapping[str, Value]


STORED = f"""
SELECT bucket, time, received_at, host(address), vitals::text, {", ".join(NAMES)}
FROM telemetry_heartbeat"""

RECENT = f"""{STORED}
WHERE device_id = %(device_id)s AND bucket >= %(since)s
ORDER BY bucket DESC LIMIT %(limit)s
"""

PAGE = f"""{STORED}
WHERE device_id = %(device_id)s AND bucket >= %(start)s AND bucket < %(end)s
ORDER BY bucket DESC LIMIT %(limit)s
"""


def insert(cursor: CursorWrapper, heartbeats: Sequence[IncomingHeartbeat]) -> list[int]:
    """Stores one heartbeat per device and 10 s; returns the positions of the duplicates."""
    return insert_once(cursor, TARGET, [_line(heartbeat) for heartbeat in heartbeats])


def recent(
    cursor: CursorWrapper, *, device_id: int, until: datetime, interval_s: int, limit: int
) -> Sequence[StoredHeartbeat]:
    """The newest heartbeats from a device, newest first. `until` is when it was last heard
    from, and `interval_s` how often it should send one."""

    def read(since: datetime) -> list[StoredHeartbeat]:
        values = {"device_id": device_id, "since": since, "limit": limit}
        return _stored(cursor, RECENT, values)

    every = max(timedelta(seconds=interval_s), BUCKET)
    return newest(read, until=until, every=every, limit=limit)


def page(
    cursor: CursorWrapper, *, device_id: int, start: datetime, end: datetime, limit: int
) -> list[StoredHeartbeat]:
    """The newest heartbeats from a device, newest first, with buckets in [`start`, `end`)."""
    rows: list[StoredHeartbeat] = []
    for begin, until in backwards(start, end):
        left = limit - len(rows)
        values = {"device_id": device_id, "start": begin, "end": until, "limit": left}
        rows += _stored(cursor, PAGE, values)
        if len(rows) == limit:
            break
    return rows


def count_by_tenant(cursor: CursorWrapper, *, since: datetime) -> dict[int, int]:
    """How many heartbeats we received from each tenant since `since`. Reads the whole table."""
    cursor.execute(
        "SELECT tenant_id, count(*) FROM telemetry_heartbeat WHERE received_at >= %s "
        "GROUP BY tenant_id",
        [since],
    )
    return dict(cursor.fetchall())


def sign_line(heartbeat: IncomingHeartbeat) -> str:
    """The columns of SIGN in COPY's text format."""
    device_id, _, time, received_at, address, named, vitals = heartbeat
    return (
        f"{device_id}\t{moment(time)}\t{moment(received_at)}\t{text(address)}\t"
        f"{vitals_cells(named)}\t{json(vitals)}"
    )


def _line(heartbeat: IncomingHeartbeat) -> str:
    device_id, tenant_id, _, received_at, address, named, vitals = heartbeat
    time = heartbeat.said_at
    bucket = time - (time - EPOCH) % BUCKET
    return (
        f"{device_id}\t{tenant_id}\t{moment(bucket)}\t{moment(time)}\t{moment(received_at)}\t"
        f"{text(address)}\t{vitals_cells(named)}\t{json(vitals)}"
    )


def _stored(
    cursor: CursorWrapper, statement: str, values: Mapping[str, Any]
) -> list[StoredHeartbeat]:
    return [
        StoredHeartbeat._make((*row[:5], dict(zip(NAMES, row[5:], strict=True))))
        for row in fetch_binary(cursor, statement, values)
    ]
