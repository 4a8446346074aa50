"""Rows in the text format of COPY, and statements that read and write many of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from django.db.backends.utils import CursorWrapper

from telemetry.vitals import Value

NULL = "\\N"
# Characters that COPY's text format needs escaped in a value.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


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
