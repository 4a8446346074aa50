"""Inserts rows into a hypertable with COPY, each row at most once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from django.db import IntegrityError, transaction
from django.db.backends.utils import CursorWrapper

from telemetry.vitals import Value

NULL = "\\N"
# Characters that COPY's text format needs escaped in a value.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Target(NamedTuple):
    """A hypertable, its columns in the same order as a row's values, and its key."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def text(value: str | None) -> str:
    """A string or None in COPY's text format."""
    if value is None:
        return NULL
    return value if value.isalnum() else value.translate(_ESCAPES)


def moment(value: datetime | None) -> str:
    # isoformat() took most of the time needed for a reading's line; msgspec is much faster.
    return NULL if value is None else str(msgspec.to_builtins(value))


def json(value: str | None) -> str:
    """JSON from msgspec, which contains no tabs or newlines, in COPY's text format."""
    return NULL if value is None else value.replace("\\", "\\\\")


def vitals_cells(values: Iterable[Value]) -> str:
    """Named vitals in COPY's text format, one column each."""
    return "\t".join(
        [
            NULL if value is None else text(value) if isinstance(value, str) else repr(value)
            for value in values
        ]
    )


def insert_once(cursor: CursorWrapper, target: Target, lines: Sequence[str]) -> list[int]:
    """Inserts rows whose key is not stored yet; returns the positions of the others in `lines`.

    `lines` are rows in COPY's text format, without the newline. A duplicate makes COPY fail as a
    whole; then the rows go through a temporary table, which is slower and skips duplicates.
    """
    columns = ", ".join(target.columns)
    try:
        with transaction.atomic():
            copy_lines(cursor, f"{target.table} ({columns})", lines)
    except IntegrityError:
        return _insert_skipping(cursor, target, lines)
    return []


def _insert_skipping(cursor: CursorWrapper, target: Target, lines: Sequence[str]) -> list[int]:
    """The slow path: COPY cannot skip duplicates, but INSERT … ON CONFLICT can.

    RETURNING gives the keys of the inserted rows. They do not identify a row if two rows of the
    batch have the same key, so rows carry their `position`: the lowest one of a returned key was
    inserted, and all other positions are duplicates.
    """
    incoming = f"incoming_{target.table}"
    columns, key = ", ".join(target.columns), ", ".join(target.key)
    cursor.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} ON COMMIT DELETE ROWS "
        f"AS SELECT 0 AS position, {columns} FROM {target.table} WITH NO DATA"
    )
    # The table is only emptied at commit, and a transaction may get here more than once.
    cursor.execute(f"DELETE FROM {incoming}")
    numbered = [f"{position}\t{line}" for position, line in enumerate(lines)]
    copy_lines(cursor, f"{incoming} (position, {columns})", numbered)
    cursor.execute(
        f"WITH new AS (INSERT INTO {target.table} ({columns}) "
        f"SELECT {columns} FROM {incoming} ORDER BY {key}, position "
        f"ON CONFLICT ({key}) DO NOTHING RETURNING {key}), "
        # Of several rows with the same key, the first was inserted.
        f"first AS (SELECT DISTINCT ON ({key}) position FROM {incoming} JOIN new USING ({key}) "
        f"ORDER BY {key}, position) "
        f"SELECT position FROM {incoming} EXCEPT SELECT position FROM first ORDER BY 1"
    )
    return [position for (position,) in cursor.fetchall()]


def fetch_binary(
    cursor: CursorWrapper, statement: str, values: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of a statement, fetched in PostgreSQL's binary format: psycopg parses binary times
    in C, while Django's loader for times as text is written in Python.

    Raises Django's database errors, as cursor.execute does.
    """
    with cursor.db.wrap_database_errors, psycopg.Cursor(cursor.connection) as binary:
        return binary.execute(statement, values, binary=True).fetchall()


def copy_lines(cursor: CursorWrapper, into: str, lines: Iterable[str]) -> None:
    """Copies rows in COPY's text format `into` a table with its columns: `name (a, b)`.

    Raises Django's database errors, as cursor.execute does.
    """
    with cursor.db.wrap_database_errors, cursor.copy(f"COPY {into} FROM STDIN") as copy:
        copy.write("\n".join(lines) + "\n")
