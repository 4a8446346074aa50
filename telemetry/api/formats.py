"""Readings as CSV and as NDJSON, part by part."""

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import msgspec

from telemetry.sql.reading_history import Bucket, StoredReading
from telemetry.times import utc_text

READING_COLUMNS = ("time", "received_at", "msg_type", "seq", "site")
METRICS = "metrics."
BUCKET_COLUMNS = ("time", "metric", "count", "avg", "min", "max")
# Spreadsheets treat text that starts with one of these as a formula; the full-width characters only
# matter in East Asian editions.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_encode = msgspec.json.Encoder().encode


def cell(value: Any, zone: tzinfo | None = None) -> str:
    """The value as a CSV cell; a time is in the zone, by default in UTC. Text that a spreadsheet
    would read as a formula gets a leading '."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return utc_text(value) if zone is None else value.astimezone(zone).isoformat()
        case str():
            return f"'{value}" if value.startswith(FORMULA) else value
        case _:
            return str(value)


class CsvStyle(NamedTuple):
    """Whether CSV begins with a byte order mark, and the time zone of its times, by default UTC."""

    bom: bool = False
    zone: tzinfo | None = None


def csv_parts(
    header: Sequence[str],
    parts: Iterable[Iterable[Sequence[Any]]],
    style: CsvStyle = CsvStyle(),  # noqa: B008 -- immutable
) -> Iterator[bytes]:
    """The header and the rows as CSV (RFC 4180)."""
    yield (BOM_UTF8 if style.bom else b"") + _csv([header], style)
    for rows in parts:
        yield _csv(rows, style)


def metric_column(name: str) -> str:
    """The header of the metric's column, which differs from all other headers.

    It starts with `metrics.` if the name is one of READING_COLUMNS, looks like a formula, or starts
    with `metrics.` itself.
    """
    is_clear = name not in READING_COLUMNS and not name.startswith((METRICS, *FORMULA))
    return name if is_clear else METRICS + name


def reading_cells(reading: StoredReading, names: Sequence[str]) -> list[Any]:
    """A CSV row: READING_COLUMNS, then these metrics."""
    metrics = msgspec.json.decode(reading.metrics)
    own = [getattr(reading, column) for column in READING_COLUMNS]
    return [*own, *(metrics.get(name) for name in names)]


def bucket_cells(bucket: Bucket) -> list[Any]:
    """A CSV row of BUCKET_COLUMNS. The metric has its column's name in an export of readings."""
    return _bucket_values(bucket, metric_column(bucket.name))


def bucket_object(bucket: Bucket) -> dict[str, Any]:
    return dict(zip(BUCKET_COLUMNS, _bucket_values(bucket, bucket.name), strict=True))


def _bucket_values(bucket: Bucket, name: str) -> list[Any]:
    _, time, numbers, *figures = bucket
    return [time, name, numbers, *map(number, figures)]


def ndjson(objects: Iterable[Any]) -> bytes:
    """One JSON value per line."""
    return b"".join(_encode(one) + b"\n" for one in objects)


def number(value: Any) -> float | None:
    """A number from the database as a JSON number."""
    return None if value is None else float(value)


def _csv(rows: Iterable[Iterable[Any]], style: CsvStyle) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([cell(value, style.zone) for value in row] for row in rows)
    return text.getvalue().encode()
