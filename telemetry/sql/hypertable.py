"""Facts about all hypertables: chunk intervals, chunks and sizes, and TimescaleDB's edition."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps as installed_apps
from django.apps.registry import Apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.utils import CursorWrapper

from telemetry.fields import HypertableTimeField


def chunk_intervals_check(*, apps: Apps = installed_apps) -> None:
    """Raises ImproperlyConfigured if CHUNK_INTERVALS names something that is not a hypertable: a
    misspelt name would silently have no effect."""
    known = {field.chunk for _, field in _hypertables_of(apps)}
    if unknown := sorted(settings.CHUNK_INTERVALS.keys() - known):
        raise ImproperlyConfigured(
            f"CHUNK_INTERVALS names {', '.join(unknown)}, which is not a hypertable; use one of: "
            f"{', '.join(sorted(known))}."
        )


def chunk_intervals_apply(
    *, apps: Apps = installed_apps, using: str = "default", **kwargs: Any
) -> None:
    """Sets the chunk interval of every app's hypertables from the settings. Existing chunks keep
    theirs.

    A receiver of post_migrate, so a changed setting needs `migrate` but no migration. `migrate`
    passes the `apps` as they are in the database, which may not have every table yet.
    """
    with connections[using].cursor() as cursor:
        for table, field in _hypertables_of(apps):
            cursor.execute(
                "SELECT set_chunk_time_interval(%s::regclass, %s::interval)",
                [table, field.interval],
            )


def _hypertables_of(apps: Apps) -> Iterator[tuple[str, HypertableTimeField]]:
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, HypertableTimeField):
                yield model._meta.db_table, field


COMMUNITY = "timescale"

EXTENSION = """
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       current_setting('timescaledb.license', true)
"""
HYPERTABLES = """
SELECT h.hypertable_name, h.num_chunks, h.compression_enabled,
       extract(epoch FROM d.time_interval)::bigint, coalesce(size.bytes, 0)::bigint,
       coalesce(size.rows, 0)::bigint, size.oldest, size.newest
FROM timescaledb_information.hypertables h
JOIN timescaledb_information.dimensions d
    ON d.hypertable_name = h.hypertable_name AND d.dimension_number = 1
LEFT JOIN LATERAL (
    SELECT sum(pg_total_relation_size(c.oid)) AS bytes, sum(greatest(0, c.reltuples)) AS rows,
           min(i.range_start) AS oldest, max(i.range_end) AS newest
    FROM timescaledb_information.chunks i
    JOIN pg_namespace n ON n.nspname = i.chunk_schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = i.chunk_name
    WHERE i.hypertable_name = h.hypertable_name
) size ON true
WHERE h.hypertable_schema = 'public'
ORDER BY 1
"""
CHUNKS = """
SELECT i.hypertable_name, i.chunk_name, i.range_start, i.range_end, i.is_compressed,
       pg_total_relation_size(c.oid), greatest(0, c.reltuples)::bigint
FROM timescaledb_information.chunks i
JOIN pg_namespace n ON n.nspname = i.chunk_schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = i.chunk_name
WHERE i.hypertable_schema = 'public'
  AND (%(hypertable)s::text IS NULL OR i.hypertable_name = %(hypertable)s)
ORDER BY i.range_start DESC, i.hypertable_name LIMIT %(limit)s
"""
COMPRESSION = """
SELECT h.hypertable_name, s.total_chunks, s.number_compressed_chunks,
       s.before_compression_total_bytes, s.after_compression_total_bytes
FROM timescaledb_information.hypertables h
CROSS JOIN LATERAL hypertable_compression_stats(format('public.%%I', h.hypertable_name)::regclass) s
WHERE h.hypertable_schema = 'public'
ORDER BY 1
"""


class Extension(NamedTuple):
    """The installed TimescaleDB; `version` is None if it is not installed."""

    version: str | None
    license: str | None

    @property
    def edition(self) -> str:
        """`community` has the columnstore, `apache` does not."""
        return "community" if self.license == COMMUNITY else "apache"


class Hypertable(NamedTuple):
    """`bytes` is the size of all chunks and indexes; `rows_estimate` is from the last ANALYZE."""

    name: str
    chunks: int
    compression_enabled: bool
    chunk_interval_s: int
    bytes: int
    rows_estimate: int
    oldest: datetime | None
    newest: datetime | None


class Chunk(NamedTuple):
    hypertable: str
    name: str
    start: datetime
    end: datetime
    is_compressed: bool
    bytes: int
    rows_estimate: int


class Compression(NamedTuple):
    """How much the columnstore saves; None where nothing is compressed."""

    hypertable: str
    chunks: int
    compressed_chunks: int
    before_bytes: int | None
    after_bytes: int | None

    @property
    def saved_pct(self) -> float | None:
        if not self.before_bytes or self.after_bytes is None:
            return None
        return round(100 * (1 - self.after_bytes / self.before_bytes), 1)


def extension(cursor: CursorWrapper) -> Extension:
    cursor.execute(EXTENSION)
    return Extension(*cursor.fetchone())


def hypertables(cursor: CursorWrapper) -> list[Hypertable]:
    """Every hypertable, sorted by name."""
    cursor.execute(HYPERTABLES)
    return [Hypertable(*row) for row in cursor.fetchall()]


def chunks(cursor: CursorWrapper, *, hypertable: str | None, limit: int) -> list[Chunk]:
    """The newest chunks, of one hypertable or of all."""
    cursor.execute(CHUNKS, {"hypertable": hypertable, "limit": limit})
    return [Chunk(*row) for row in cursor.fetchall()]


def compression(cursor: CursorWrapper) -> list[Compression]:
    """The compression of every hypertable. Community edition only."""
    cursor.execute(COMPRESSION)
    return [Compression(*row) for row in cursor.fetchall()]
