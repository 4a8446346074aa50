"""SQL on telemetry_reading."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import NULL, Target, insert_once, json, moment_shared, text
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
        f"{device_id}\t{tenant_id}\t{time.isoformat()}\t{moment_shared(received_at)}\t"
        f"{NULL if seq is None else seq}\t{text(msg_type)}\t{text(site)}\t"
        f"{json(metrics.decode())}"
    )
