"""Readings as CSV and as NDJSON, part by part."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from telemetry.sql.reading_history import Bucket, StoredReading
from telemetry.times import utc_text

READING_COLUMNS = ("time", "received_at", "msg_type", "seq", "site")
METRICS = "metrics."
BUCKET_COLUMNS = ("time", "metric", "count", "avg", "min", "max")
# What spreadsheets take for the beginning of a formula, the wide ones in East Asian editions.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_encode = msgspec.json.Encoder().encode


def cell(value: Any) -> str:
    """The value as a cell of CSV; text that a spreadsheet would compute has a ' before it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return utc_text(value)
        case str():
            return f"'{value}" if value.startswith(FORMULA) else value
        case _:
            return str(value)


def csv_parts(header: Sequence[str], parts: Iterable[Iterable[Sequence[Any]]]) -> Iterator[bytes]:
    """The header and the rows as CSV (RFC 4180)."""
    yield _csv([header])
    for rows in parts:
        yield _csv(rows)


def metric_column(name: str) -> str:
    """The header of the metric's column, which is no other column's.

    `metrics.` stands before one of READING_COLUMNS, before what a spreadsheet would compute, and
    before what begins so itself.
    """
    is_clear = name not in READING_COLUMNS and not name.startswith((METRICS, *FORMULA))
    return name if is_clear else METRICS + name


def reading_cells(reading: StoredReading, names: Sequence[str]) -> list[Any]:
    """A row of READING_COLUMNS and the metrics."""
    metrics = msgspec.json.decode(reading.metrics)
    own = [getattr(reading, column) for column in READING_COLUMNS]
    return [*own, *(metrics.get(name) for name in names)]


def bucket_cells(bucket: Bucket) -> list[Any]:
    """A row of BUCKET_COLUMNS in CSV, where a metric is called as its column of readings is."""
    return _bucket_values(bucket, metric_column(bucket.name))


def bucket_object(bucket: Bucket) -> dict[str, Any]:
    return dict(zip(BUCKET_COLUMNS, _bucket_values(bucket, bucket.name), strict=True))


def _bucket_values(bucket: Bucket, name: str) -> list[Any]:
    _, time, numbers, *figures = bucket
    return [time, name, numbers, *map(number, figures)]


def ndjson(objects: Iterable[Any]) -> bytes:
    """One JSON value a line."""
    return b"".join(_encode(one) + b"\n" for one in objects)


def number(value: Any) -> float | None:
    """A figure of the database as JSON has it."""
    return None if value is None else float(value)


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([cell(value) for value in row] for row in rows)
    return text.getvalue().encode()
