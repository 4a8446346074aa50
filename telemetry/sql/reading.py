"""SQL for telemetry_reading."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import NULL, json, moment, text
from telemetry.sql.joining import MOST_NAMES, Became, Join, Kind, insert_joining

SIGN = ("device_id", "time", "received_at", "metrics", "names", "others")
# How many of the names in conflict are told.
TOLD = 10


class IncomingReading(NamedTuple):
    """A reading on its way into the table.

    `metrics` is a JSON object as UTF-8. `names` is a hash of the set of its names, for the status.
    """

    device_id: int
    tenant_id: int
    time: datetime
    received_at: datetime
    seq: int | None
    msg_type: str
    site: str | None
    metrics: bytes
    names: int = 0

    @property
    def said_at(self) -> datetime:
        return self.time


def insert(
    cursor: CursorWrapper, readings: Sequence[IncomingReading]
) -> dict[int, Join[IncomingReading]]:
    """Stores one row per device, time and type, which has the metrics of all its readings.

    The value that was stored first stays. Returns what became of readings without a row of their
    own, by position.
    """
    return insert_joining(cursor, KIND, readings)


class _Joiner:
    """Adds metrics to a reading. The value that was stored first stays."""

    def __init__(self, stored: IncomingReading) -> None:
        self._stored = stored
        self._metrics: dict[str, Any] = msgspec.json.decode(stored.metrics)
        self._before = frozenset(self._metrics)
        self._seq, self._site = stored.seq, stored.site

    def add(self, reading: IncomingReading) -> Join[IncomingReading]:
        said: dict[str, Any] = msgspec.json.decode(reading.metrics)
        new = [name for name in said if name not in self._metrics]
        if new and len(self._metrics) + len(new) > MOST_NAMES:
            count = len(self._metrics) + len(new)
            words = f"its row would have {count} metrics; at most {MOST_NAMES} fit"
            return Join(Became.TOO_WIDE, reading, words)
        differing = {
            name: (self._metrics[name], value)
            for name, value in said.items()
            if name in self._metrics and not _same(self._metrics[name], value)
        }
        if new:
            self._metrics.update((name, said[name]) for name in new)
            self._seq = reading.seq if self._seq is None else self._seq
            self._site = self._site or reading.site
        if not differing:
            return Join(Became.JOINED if new else Became.DUPLICATE, reading)
        as_stored = msgspec.json.encode({name: self._metrics[name] for name in said})
        words = _conflict_words(differing)
        return Join(Became.CONFLICT, reading._replace(metrics=as_stored), words)

    def additions(self) -> IncomingReading | None:
        return None if len(self._metrics) == len(self._before) else self.merged()

    def merged(self) -> IncomingReading:
        metrics = msgspec.json.encode(self._metrics)
        return self._stored._replace(metrics=metrics, seq=self._seq, site=self._site)

    def seen_otherwise(self, row: IncomingReading) -> "_Joiner | None":
        stored: dict[str, Any] = msgspec.json.decode(row.metrics)
        others = {
            name: value
            for name, value in stored.items()
            if name not in self._metrics or not _same(value, self._metrics[name])
        }
        if not others:
            return None
        before = {name: stored[name] for name in self._before} | others
        return _Joiner(row._replace(metrics=msgspec.json.encode(before)))


def _same(stored: Any, said: Any) -> bool:
    if isinstance(stored, bool) or isinstance(said, bool):  # in Python, True == 1
        return stored is said
    if isinstance(stored, float) or isinstance(said, float):
        try:
            # The database writes 1e23 with all its zeros, which reads as a whole number.
            return float(stored) == float(said) and not isinstance(stored, str)
        except (TypeError, ValueError):
            return False
    return bool(stored == said)


def _conflict_words(values: dict[str, tuple[Any, Any]]) -> str:
    told = [
        f"{name} is {_json(stored)} for this time, and the message says {_json(said)}"
        for name, (stored, said) in list(values.items())[:TOLD]
    ]
    if more := len(values) - len(told):
        told.append(f"and {more} more")
    return "; ".join(told)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


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


def sign_line(reading: IncomingReading, others: bytes | None) -> str:
    """The columns of SIGN in COPY's text format. `others` are values of other metrics that the
    device sent with it: a JSON object of name to [value, time]."""
    return (
        f"{reading.device_id}\t{moment(reading.time)}\t{moment(reading.received_at)}\t"
        f"{json(reading.metrics.decode())}\t{reading.names}\t"
        f"{json(others.decode() if others else None)}"
    )


def _line(reading: IncomingReading) -> str:
    # The hot path: this runs a million times a minute.
    device_id, tenant_id, time, received_at, seq, msg_type, site, metrics, _ = reading
    return (
        f"{device_id}\t{tenant_id}\t{moment(time)}\t{moment(received_at)}\t"
        f"{NULL if seq is None else seq}\t{text(msg_type)}\t{text(site)}\t"
        f"{json(metrics.decode())}"
    )


def _loaded(row: tuple[Any, ...]) -> IncomingReading:
    device_id, tenant_id, time, received_at, seq, msg_type, site, metrics = row
    return IncomingReading(
        device_id, tenant_id, time, received_at, seq, msg_type, site, metrics.encode()
    )


KIND = Kind(
    table="telemetry_reading",
    columns=(
        *("device_id", "tenant_id", "time", "received_at"),
        *("seq", "msg_type", "site", "metrics"),
    ),
    key_columns=("device_id", "time", "msg_type"),
    key=lambda reading: (reading.device_id, reading.time, reading.msg_type),
    line=_line,
    joiner=_Joiner,
    read="""
SELECT device_id, tenant_id, time, received_at, seq, msg_type, site, metrics::text
FROM unnest(%(device_id)s::integer[], %(time)s::timestamptz[], %(msg_type)s::text[])
     AS wanted (device_id, time, msg_type)
JOIN telemetry_reading USING (device_id, time, msg_type)
WHERE time BETWEEN %(first)s AND %(last)s
""",
    read_columns=(
        *("device_id", "tenant_id", "time", "received_at"),
        *("seq", "msg_type", "site", "metrics::text"),
    ),
    loaded=_loaded,
    # The first value stays.
    update="""
metrics = excluded.metrics || stored.metrics,
seq = coalesce(stored.seq, excluded.seq),
site = coalesce(stored.site, excluded.site)
""",
)
