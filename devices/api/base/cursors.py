"""Cursors: where the next page begins, signed so that a client cannot make one up.

An unsigned cursor would reach a query unchecked: text in place of a number, or NUL, is a database
error.
"""

from collections.abc import Sequence
from typing import Any

from django.core import signing

from devices.http.errors import NoSuchReference

SALT = "rollcall.cursor"
WORDS = "This cursor is not from this list; start again without one."


def cursor_seal(values: Sequence[Any], *, about: str) -> str:
    """The values (numbers and texts) as a cursor for one list in one order, named by `about`."""
    return signing.dumps(list(values), salt=f"{SALT}:{about}")


def cursor_open(cursor: str, *, about: str) -> list[Any]:
    """The sealed values. Raises NoSuchReference if it was not sealed here or for another list."""
    try:
        values: list[Any] = signing.loads(cursor, salt=f"{SALT}:{about}")
    except (signing.BadSignature, ValueError):
        raise NoSuchReference("cursor", WORDS) from None
    return values
