"""Reads JSON that a strict decoder refuses, as far as it can be read.

Small clients print numbers with `printf`, so that one value is `nan`, `inf` or `01`, and put a
comma after the last value. Such a value is found here, so that it can be named.
"""

import json
import math
import re
from typing import Any, NamedTuple

# Looking for a value in a longer body would take too long.
MOST_BYTES = 256 * 1024
SHOWN = 40
# Text without an end goes on to the end of the body, so that nothing is looked at twice.
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|,(?=[ \t\r\n]*[}\]])|[^\s\[\]{},:"]+', re.S)
VALID = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
LARGEST_WHOLE = 2**63


class Unreadable(NamedTuple):
    """What stands where JSON has a value, and is none."""

    text: str


class Number(NamedTuple):
    """A number as it was sent, so that a version 2.10 is not read as 2.1."""

    text: str

    @property
    def value(self) -> int | float | None:
        """None if it is too large: a whole number beyond 2**63, or another beyond 1.8e308."""
        if self.text.lstrip("-").isdecimal():
            whole = int(self.text) if len(self.text) <= 20 else None
            return whole if whole is not None and abs(whole) <= LARGEST_WHOLE else None
        number = float(self.text)
        return number if math.isfinite(number) else None


def loosely(data: bytes) -> Any:
    """The JSON value; every number in it is a Number, and what is no JSON value is Unreadable.

    Text may contain half surrogate pairs, also in place of bytes that are no UTF-8. Raises
    ValueError or RecursionError if the data cannot be read even so.
    """
    if len(data) > MOST_BYTES:
        raise ValueError("too long to be read value by value")
    unreadable: list[str] = []

    def checked(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] == '"' or VALID.fullmatch(token):
            return token
        if token == ",":
            return ""
        unreadable.append(token)
        return "NaN"

    mended = TOKEN.sub(checked, data.decode(errors="surrogateescape"))
    texts = iter(unreadable)
    return json.loads(
        mended,
        strict=False,
        parse_int=Number,
        parse_float=Number,
        # Called in the order in which they were found.
        parse_constant=lambda name: Unreadable(printable(next(texts))),
    )


def printable(text: str, *, most: int = SHOWN) -> str:
    """At most so many characters of the text, without half surrogate pairs: for answers."""
    return text[:most].encode("utf-8", "backslashreplace").decode()
