"""SQL for telemetry_heartbeat."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import fetch_binary, json, moment, text, vitals_cells
from telemetry.sql.joining import MOST_NAMES, Became, Join, Kind, insert_joining
from telemetry.sql.windows import backwards, newest
from telemetry.vitals import NAMES, Value

BUCKET = timedelta(seconds=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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

    @property
    def bucket(self) -> datetime:
        time = self.said_at
        return time - (time - EPOCH) % BUCKET

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
    """A row of the table. `named` maps the names of vitals to their values; `vitals` is JSON text
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


def insert(
    cursor: CursorWrapper, heartbeats: Sequence[IncomingHeartbeat]
) -> dict[int, Join[IncomingHeartbeat]]:
    """Stores one row per device and 10 s, which has the newest value of each vital.

    Returns what became of heartbeats without a row of their own, by position.
    """
    return insert_joining(cursor, KIND, heartbeats)


class _Joiner:
    """Adds vitals to a heartbeat; of two values, that of the newer heartbeat counts."""

    def __init__(self, stored: IncomingHeartbeat) -> None:
        self._stored = self._row = stored
        self._vitals = self._before = _decoded(stored.vitals)

    def add(self, heartbeat: IncomingHeartbeat) -> Join[IncomingHeartbeat]:
        vitals = _decoded(heartbeat.vitals)
        newer, older, joined = heartbeat, self._row, self._vitals | vitals
        if heartbeat.said_at < self._row.said_at:
            newer, older, joined = self._row, heartbeat, vitals | self._vitals
        named = tuple(
            theirs if own is None else own
            for own, theirs in zip(newer.named, older.named, strict=True)
        )
        if named == self._row.named and not _changed(self._vitals, joined):
            return Join(Became.DUPLICATE, heartbeat)
        if len(joined) > MOST_NAMES:
            words = f"its row would have {len(joined)} vitals; at most {MOST_NAMES} fit"
            return Join(Became.TOO_WIDE, heartbeat, words)
        self._vitals = joined
        address = newer.address or older.address
        self._row = self._row._replace(time=newer.said_at, address=address, named=named)
        return Join(Became.JOINED, heartbeat)

    def additions(self) -> IncomingHeartbeat | None:
        """Without what was stored before, of which another shard may have newer values."""
        if self._row is self._stored:
            return None
        named = tuple(
            None if own == stored else own
            for own, stored in zip(self._row.named, self._stored.named, strict=True)
        )
        return self._row._replace(
            named=named, vitals=_encoded(_changed(self._before, self._vitals))
        )

    def merged(self) -> IncomingHeartbeat:
        return self._row._replace(vitals=_encoded(self._vitals))

    def seen_otherwise(self, row: IncomingHeartbeat) -> None:
        """Heartbeats are never in conflict."""


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in after.items()
        # In Python, True == 1.
        if name not in before or before[name] != value or type(before[name]) is not type(value)
    }


def _decoded(vitals: str | None) -> dict[str, Any]:
    return msgspec.json.decode(vitals) if vitals else {}


def _encoded(vitals: dict[str, Any]) -> str | None:
    return msgspec.json.encode(vitals).decode() if vitals else None


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
    return (
        f"{device_id}\t{tenant_id}\t{moment(heartbeat.bucket)}\t{moment(heartbeat.said_at)}\t"
        f"{moment(received_at)}\t"
        f"{text(address)}\t{vitals_cells(named)}\t{json(vitals)}"
    )


def _stored(
    cursor: CursorWrapper, statement: str, values: Mapping[str, Any]
) -> list[StoredHeartbeat]:
    return [
        StoredHeartbeat._make((*row[:5], dict(zip(NAMES, row[5:], strict=True))))
        for row in fetch_binary(cursor, statement, values)
    ]


def _loaded(row: tuple[Any, ...]) -> IncomingHeartbeat:
    device_id, tenant_id, time, received_at, address, vitals, *named = row
    return IncomingHeartbeat(device_id, tenant_id, time, received_at, address, tuple(named), vitals)


def _newest(name: str) -> str:
    return (
        f"{name} = CASE WHEN excluded.time >= stored.time "
        f"THEN coalesce(excluded.{name}, stored.{name}) "
        f"ELSE coalesce(stored.{name}, excluded.{name}) END"
    )


KIND = Kind(
    table="telemetry_heartbeat",
    columns=(
        *("device_id", "tenant_id", "bucket", "time", "received_at", "address"),
        *NAMES,
        "vitals",
    ),
    key_columns=("device_id", "bucket"),
    key=lambda heartbeat: (heartbeat.device_id, heartbeat.bucket),
    line=_line,
    joiner=_Joiner,
    read=f"""
SELECT device_id, tenant_id, time, received_at, host(address), vitals::text, {", ".join(NAMES)}
FROM unnest(%(device_id)s::integer[], %(bucket)s::timestamptz[]) AS wanted (device_id, bucket)
JOIN telemetry_heartbeat USING (device_id, bucket)
WHERE bucket BETWEEN %(first)s AND %(last)s
""",
    read_columns=(
        *("device_id", "tenant_id", "time", "received_at"),
        *("host(address)", "vitals::text", *NAMES),
    ),
    loaded=_loaded,
    update=",\n".join(
        (
            "time = greatest(stored.time, excluded.time)",
            *(_newest(name) for name in ("address", *NAMES)),
            """vitals = CASE WHEN excluded.time >= stored.time
    THEN coalesce(stored.vitals || excluded.vitals, excluded.vitals, stored.vitals)
    ELSE coalesce(excluded.vitals || stored.vitals, stored.vitals, excluded.vitals) END""",
        )
    ),
)
