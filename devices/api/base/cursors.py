"""Cursors: where the next page begins, sealed so that a client cannot make one up.

An unsealed cursor would go into a query as it came: text where a number belongs, or NUL, is an
error of the database.
"""

from collections.abc import Sequence
from typing import Any

from django.core import signing

from devices.http.errors import NoSuchReference

SALT = "rollcall.cursor"
WORDS = "This is no cursor of this list; begin again without one."


def cursor_seal(values: Sequence[Any], *, about: str) -> str:
    """The values (numbers and texts) as a cursor for one list in one order, named by `about`."""
    return signing.dumps(list(values), salt=f"{SALT}:{about}")


def cursor_open(cursor: str, *, about: str) -> list[Any]:
    """What was sealed. Raises NoSuchReference if it was not sealed here, or for another list."""
    try:
        values: list[Any] = signing.loads(cursor, salt=f"{SALT}:{about}")
    except (signing.BadSignature, ValueError):
        raise NoSuchReference("cursor", WORDS) from None
    return values
