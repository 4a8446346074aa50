"""Cursors say where the next page begins, and are signed so that a client cannot make one up.

The values in an unsigned cursor would reach a query unchecked, and text in place of a number, or
NUL, would cause a database error.
"""

from collections.abc import Sequence
from typing import Any

from django.core import signing

from devices.http.errors import NoSuchReference

SALT = "rollcall.cursor"
WORDS = "This cursor does not belong to this list; start again without a cursor."


def cursor_seal(values: Sequence[Any], *, about: str) -> str:
    """Makes a cursor from the values (numbers and texts). It can be used only for one list in one
    order, which `about` names."""
    return signing.dumps(list(values), salt=f"{SALT}:{about}")


def cursor_open(cursor: str, *, about: str) -> list[Any]:
    """The values in the cursor. Raises NoSuchReference if it was not made here or was made for a
    different list."""
    try:
        values: list[Any] = signing.loads(cursor, salt=f"{SALT}:{about}")
    except (signing.BadSignature, ValueError):
        raise NoSuchReference("cursor", WORDS) from None
    return values
