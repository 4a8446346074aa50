"""Decodes the JSON that devices send, and says precisely what is wrong with invalid JSON."""

import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from ingest.messages.errors import InvalidMessage
from ingest.messages.loose import Number, Unreadable, loosely
from ingest.messages.times import NO_TIME, TIME_NAMES

Body = TypeVar("Body")

MAX_NAME = 64
MAX_TEXT = 1024
# What small clients send around the JSON: a byte order mark, and the rest of a fixed buffer.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
AROUND = b" \t\r\n\x00"
KINDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "a boolean",
    "object": "an object",
    "array": "an array",
}
LIMITS = {"<=": "at most", ">=": "at least"}
UNITS = {"str": "character", "array": "element", "object": "field"}
# A body without any of these has no number beyond float8 and no text with half a surrogate pair.
STRANGE = re.compile(rb"NaN|Infinity|\\u[dD]|[eE]\+?\d{3}|(?<!\d)\d{200}")
NOT_FINITE = "NaN, Infinity and numbers beyond 1.8e308 cannot be stored"
HALF_PAIR = re.compile("[\ud800-\udfff]")


def trimmed(data: bytes) -> bytes:
    """The JSON without what may stand around it."""
    return data.strip(AROUND).removeprefix(BYTE_ORDER_MARK).lstrip(AROUND)


def body_decode(decoder: msgspec.json.Decoder[Body], data: bytes) -> Body:
    """The decoded body. Raises InvalidMessage if it is not JSON, or not what the decoder accepts;
    the error names the field if possible."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        is_json = isinstance(error, msgspec.ValidationError)
        if not is_json or STRANGE.search(data):
            _refuse_strange(data)
        if isinstance(error, msgspec.ValidationError):
            raise from_msgspec(error) from None
        raise InvalidMessage("$", not_json(error)) from None


def _refuse_strange(data: bytes) -> None:
    """Raises InvalidMessage, with the field, for NaN, Infinity, `01`, numbers that are too large
    and half surrogate pairs. Many JSON encoders write them, and the strict decoder does not say
    where."""
    try:
        value = loosely(data)
    except (ValueError, RecursionError):
        return
    if isinstance(value, Unreadable):  # the decoder's words are better about the whole body
        return
    for path, part in _parts("$", value):
        match part:
            case str() if HALF_PAIR.search(part):
                raise InvalidMessage(path, half_pair(part))
            case Unreadable(text):
                raise InvalidMessage(path, not_a_value(text))
            case Number(text) if math.isinf(float(text)):
                raise InvalidMessage(path, NOT_FINITE)


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The names and values in an object and in objects directly inside it, with their paths."""
    if not isinstance(value, dict):
        yield path, value
    elif path.count(".") < 2:
        for name, inner in value.items():
            yield path, name
            yield from _parts(f"{path}.{name[:MAX_NAME]}", inner)


def check_text(path: str, text: str | None) -> None:
    """Raises InvalidMessage for text that PostgreSQL cannot hold, or that is too long."""
    if text is not None and (problem := text_problem(text)):
        raise InvalidMessage(path, problem)


def text_problem(text: str) -> str | None:
    """Why the text cannot be stored; None if it can."""
    if "\x00" in text:
        return "text with the character U+0000 cannot be stored"
    if len(text) > MAX_TEXT:
        return f"text of {len(text)} characters; at most {MAX_TEXT}"
    return half_pair(text) if HALF_PAIR.search(text) else None


def half_pair(text: str) -> str:
    """Why text with half surrogate pairs cannot be stored. Bytes that are not UTF-8 were read as
    the halves from U+DC80 to U+DCFF, none of which follows a first half."""
    found = HALF_PAIR.search(text)
    if found and "\udc80" <= found[0] <= "\udcff":
        return "text that is not UTF-8, or has a lone surrogate, cannot be stored"
    return "text with a lone surrogate cannot be stored"


def not_a_value(text: str) -> str:
    """Why this, which stands where JSON has a value, is none."""
    if text.lstrip("-") in ("NaN", "Infinity"):
        return NOT_FINITE
    if text.lower().lstrip("+-").startswith(("nan", "inf")):
        return f"{text} cannot be stored; send a number, or leave the field out"
    return f"{text} is not a JSON value"


def name_text(path: str, name: str | int | None) -> str | None:
    """The name of a device, which may be sent as a number."""
    if not isinstance(name, int):
        return name
    text = str(name)
    if len(text) > MAX_NAME:
        raise InvalidMessage(path, f"expected at most {MAX_NAME} characters")
    return text


def not_json(error: Exception) -> str:
    return f"this is not JSON: {str(error).removeprefix('JSON is malformed: ')}"


def from_msgspec(error: msgspec.ValidationError) -> InvalidMessage:
    """The same error, reworded, with the JSON path as its field."""
    reason, found_path, path = str(error).rpartition(" - at `")
    if not found_path:
        reason, path = path, ""
    path = path.removeprefix("key` in `").rstrip("`") or "$"
    if path.removeprefix("$.") in TIME_NAMES:
        reason = NO_TIME
    if found := re.fullmatch(
        "Object (contains unknown|missing required) field `(.*)`", reason, re.S
    ):
        words = "unknown field" if found[1] == "contains unknown" else "this field is missing"
        return InvalidMessage(f"{path}.{found[2][:MAX_NAME]}", words)
    return InvalidMessage(path, _in_words(reason))


def _in_words(reason: str) -> str:
    """`Expected `float | null`, got `str`` becomes `expected a number, got text`."""
    if found := re.fullmatch("Expected `(.*)`, got `(.*)`", reason):
        kinds = [kind for kind in found[1].split(" | ") if kind != "null"]
        if "float" in kinds and "int" in kinds:
            kinds.remove("int")
        wanted = " or ".join(KINDS.get(kind, kind) for kind in kinds)
        return f"expected {wanted}, got {KINDS.get(found[2], found[2])}"
    if found := re.fullmatch("Expected `(str|array|object)` of length (<=|>=) (.*)", reason):
        unit = UNITS[found[1]] if found[3] == "1" else f"{UNITS[found[1]]}s"
        return f"expected {LIMITS[found[2]]} {found[3]} {unit}"
    if found := re.fullmatch("Expected `(?:int|float)` (<=|>=) (.*)", reason):
        return f"expected {LIMITS[found[1]]} {found[2].removesuffix('.0')}"
    return reason
