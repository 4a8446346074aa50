"""SQL that reads telemetry_reading: pages, averages per bucket, and whole windows.

Names of metrics are bound like any other value. Only numbers are averaged, as PostgreSQL's
`numeric`, in which the sum of a device's numbers cannot overflow.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import fetch_binary
from telemetry.sql.windows import backwards

COLUMNS = """
time, received_at, msg_type, seq, site,
CASE WHEN %(names)s::text[] IS NULL THEN metrics::text
     ELSE (SELECT jsonb_object_agg(key, value)::text FROM jsonb_each(metrics)
           WHERE key = ANY (%(names)s))
END
"""
IN_WINDOW = """
device_id = %(device_id)s AND time >= %(start)s AND time < %(end)s
AND (%(names)s::text[] IS NULL OR metrics ?| %(names)s)
"""

# Only the metrics of rows on the page are turned into text. The view is sorted in this order, so
# the database reads no more rows than the page has.
PAGE = f"""
SELECT {COLUMNS} FROM (
    SELECT time, received_at, msg_type, seq, site, metrics FROM telemetry_reading_newest
    WHERE {IN_WINDOW} ORDER BY time DESC, msg_type DESC LIMIT %(limit)s
) AS page ORDER BY time DESC, msg_type DESC
"""
# The separate condition on time can be pushed through the view to the index.
PAGE_AFTER = f"""
SELECT {COLUMNS} FROM (
    SELECT time, received_at, msg_type, seq, site, metrics FROM telemetry_reading_newest
    WHERE {IN_WINDOW} AND time <= %(last_time)s
      AND (time, msg_type) < (%(last_time)s, %(last_type)s)
    ORDER BY time DESC, msg_type DESC LIMIT %(limit)s
) AS page ORDER BY time DESC, msg_type DESC
"""
WHOLE = f"""
SELECT {COLUMNS} FROM telemetry_reading WHERE {IN_WINDOW} ORDER BY time, msg_type
"""
NAMES = f"""
SELECT DISTINCT jsonb_object_keys(metrics) FROM telemetry_reading
WHERE {IN_WINDOW} ORDER BY 1 LIMIT %(limit)s
"""

# The bucket of a time, and all buckets of the window. The days of a time zone have different
# lengths, so their beginnings are bound one by one; PostgreSQL need not know the zone.
BUCKET_OF = "time_bucket(%(bucket)s, time)"
BUCKETS_OF_WINDOW = """generate_series(
    time_bucket(%(bucket)s, %(start)s::timestamptz), %(end)s - interval '1 us', %(bucket)s
)"""
EDGES = "%(edges)s::timestamptz[]"
DAY_OF = f"({EDGES})[width_bucket(time, {EDGES})]"
DAYS_OF_WINDOW = f"unnest({EDGES})"

FOUND = f"""
WITH found AS (
    SELECT m.key AS name, {{bucket_of}} AS bucket, count(*) AS count,
           avg(m.value::numeric) AS avg, min(m.value::numeric) AS min, max(m.value::numeric) AS max
    FROM telemetry_reading CROSS JOIN LATERAL jsonb_each(metrics) m
    WHERE {IN_WINDOW} AND (%(names)s::text[] IS NULL OR m.key = ANY (%(names)s))
      AND jsonb_typeof(m.value) = 'number'
    GROUP BY 1, 2
)
"""
BUCKETS = f"""
{FOUND}
SELECT name, bucket, count, avg, min, max FROM found ORDER BY name, bucket LIMIT %(limit)s
"""
BUCKETS_FILLED = f"""
{FOUND}
SELECT n.name, g.bucket, coalesce(f.count, 0), f.avg, f.min, f.max
FROM (SELECT DISTINCT name FROM found UNION SELECT unnest(%(names)s::text[])) n
CROSS JOIN {{buckets_of_window}} AS g (bucket)
LEFT JOIN found f ON f.name = n.name AND f.bucket = g.bucket
ORDER BY n.name, g.bucket LIMIT %(limit)s
"""


class Window(NamedTuple):
    """A device's readings from `start` until just before `end`. With `names`, only readings
    that have at least one of these metrics, and only these metrics."""

    device_id: int
    start: datetime
    end: datetime
    names: Sequence[str] | None = None

    def bound(self, **others: Any) -> dict[str, Any]:
        names = None if self.names is None else list(self.names)
        return {**self._asdict(), "names": names, **others}


class StoredReading(msgspec.Struct, gc=False):
    """A reading that is ready to become JSON; `metrics` is a JSON object already."""

    time: datetime
    received_at: datetime
    msg_type: str
    seq: int | None
    site: str | None
    metrics: msgspec.Raw


class Bucket(NamedTuple):
    """The figures for a metric in the bucket that starts at `time`; None if it has no numbers."""

    name: str
    time: datetime
    numbers: int
    avg: Decimal | None
    min: Decimal | None
    max: Decimal | None


class Last(NamedTuple):
    """The last reading of a page."""

    time: datetime
    msg_type: str


def page(
    cursor: CursorWrapper, window: Window, *, limit: int, after: Last | None
) -> list[StoredReading]:
    """The window's readings, newest first; with `after`, those that follow it on the next page."""
    statement = PAGE if after is None else PAGE_AFTER
    last = {} if after is None else {"last_time": after.time, "last_type": after.msg_type}
    # Readings of other types may have the same time as the last one.
    until = window.end if after is None else min(window.end, after.time + timedelta(microseconds=1))
    rows: list[StoredReading] = []
    for start, end in backwards(window.start, until):
        part = window._replace(start=start, end=end)
        found = fetch_binary(cursor, statement, part.bound(limit=limit - len(rows), **last))
        rows += _stored(found)
        if len(rows) == limit:
            break
    return rows


def buckets(
    cursor: CursorWrapper,
    window: Window,
    *,
    bucket: timedelta,
    edges: Sequence[datetime] | None = None,
    fill: bool,
    limit: int,
) -> list[Bucket]:
    """The figures for each metric in each bucket, sorted by name and time, at most `limit`.

    Buckets are `bucket` long, or begin at `edges`, whose first is not after the window's start.
    With `fill`, includes the empty buckets for each metric that was found or named.
    """
    statement = (BUCKETS_FILLED if fill else BUCKETS).format(
        bucket_of=BUCKET_OF if edges is None else DAY_OF,
        buckets_of_window=BUCKETS_OF_WINDOW if edges is None else DAYS_OF_WINDOW,
    )
    cursor.execute(statement, window.bound(bucket=bucket, edges=edges, limit=limit))
    return [Bucket(*row) for row in cursor.fetchall()]


def names(cursor: CursorWrapper, window: Window, *, limit: int) -> list[str]:
    """The names of the metrics in the window, sorted, at most `limit`."""
    cursor.execute(NAMES, window.bound(limit=limit))
    return [name for (name,) in cursor.fetchall()]


def whole(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[list[StoredReading]]:
    """All readings in the window, oldest first, in lists of at most `rows_at_once`. `cursor` must
    be a server-side cursor, so that only a few rows are in memory."""
    cursor.execute(WHOLE, window.bound())
    while rows := cursor.fetchmany(rows_at_once):
        yield _stored(rows)


def _stored(rows: Iterable[tuple[Any, ...]]) -> list[StoredReading]:
    return [
        StoredReading(time, received_at, msg_type, seq, site, msgspec.Raw(metrics))
        for time, received_at, msg_type, seq, site, metrics in rows
    ]
