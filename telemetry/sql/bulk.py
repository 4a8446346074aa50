"""Rows into a hypertable at the speed of COPY, each at most once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from django.db import IntegrityError, transaction
from django.db.backends.utils import CursorWrapper

from telemetry.vitals import Value

NULL = "\\N"
# What COPY's text format needs escaped inside a value.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Target(NamedTuple):
    """A hypertable, its columns in the order of the rows' values, and its key."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def text(value: str | None) -> str:
    """A text, or None, as COPY reads it."""
    if value is None:
        return NULL
    return value if value.isalnum() else value.translate(_ESCAPES)


def moment(value: datetime | None) -> str:
    # isoformat() was most of what making a reading's line cost; msgspec writes the same moment.
    return NULL if value is None else str(msgspec.to_builtins(value))


def json(value: str | None) -> str:
    """JSON as msgspec writes it, which has no tab and no line's end in it, as COPY reads it."""
    return NULL if value is None else value.replace("\\", "\\\\")


def vitals_cells(values: Iterable[Value]) -> str:
    """Named vitals as COPY reads them, one column each."""
    return "\t".join(
        [
            NULL if value is None else text(value) if isinstance(value, str) else repr(value)
            for value in values
        ]
    )


def insert_once(cursor: CursorWrapper, target: Target, lines: Sequence[str]) -> list[int]:
    """Inserts rows whose key is not there yet; returns the positions of the others in `lines`.

    `lines` are rows in COPY's text format, without the line's end. First with COPY, at its full
    speed; where a duplicate stops that, through a temporary table that skips duplicates.
    """
    columns = ", ".join(target.columns)
    try:
        with transaction.atomic():
            copy_lines(cursor, f"{target.table} ({columns})", lines)
    except IntegrityError:
        return _insert_skipping(cursor, target, lines)
    return []


def _insert_skipping(cursor: CursorWrapper, target: Target, lines: Sequence[str]) -> list[int]:
    incoming = f"incoming_{target.table}"
    columns, key = ", ".join(target.columns), ", ".join(target.key)
    cursor.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} ON COMMIT DELETE ROWS "
        f"AS SELECT 0 AS position, {columns} FROM {target.table} WITH NO DATA"
    )
    cursor.execute(f"DELETE FROM {incoming}")
    numbered = [f"{position}\t{line}" for position, line in enumerate(lines)]
    copy_lines(cursor, f"{incoming} (position, {columns})", numbered)
    cursor.execute(
        f"WITH new AS (INSERT INTO {target.table} ({columns}) "
        f"SELECT {columns} FROM {incoming} ORDER BY {key}, position "
        f"ON CONFLICT ({key}) DO NOTHING RETURNING {key}), "
        # Of rows with one key that arrive together, the first is the one that was inserted.
        f"first AS (SELECT DISTINCT ON ({key}) position FROM {incoming} JOIN new USING ({key}) "
        f"ORDER BY {key}, position) "
        f"SELECT position FROM {incoming} EXCEPT SELECT position FROM first ORDER BY 1"
    )
    return [position for (position,) in cursor.fetchall()]


def fetch_binary(
    cursor: CursorWrapper, statement: str, values: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of a statement, in PostgreSQL's binary format: times are then read by
    psycopg's C, and not by Django's loader of their text, which is Python.

    Raises Django's database errors, as cursor.execute does.
    """
    with cursor.db.wrap_database_errors, psycopg.Cursor(cursor.connection) as binary:
        return binary.execute(statement, values, binary=True).fetchall()


def copy_lines(cursor: CursorWrapper, into: str, lines: Iterable[str]) -> None:
    """COPY of rows in its text format `into` a table with its columns: `name (a, b)`.

    Raises Django's database errors, as cursor.execute does.
    """
    with cursor.db.wrap_database_errors, cursor.copy(f"COPY {into} FROM STDIN") as copy:
        copy.write("\n".join(lines) + "\n")
