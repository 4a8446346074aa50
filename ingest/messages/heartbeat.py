"""Decodes heartbeats and other bodies, and says precisely what is wrong with invalid ones."""

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta, Struct

from ingest.messages.errors import InvalidMessage
from ingest.messages.times import Time, device_time
from telemetry.vitals import LONGEST_TEXT, NAMED_VITALS, NAMES, Value, Vital

MAX_NAME = 64

Name = Annotated[str, Meta(max_length=MAX_NAME)]
Scalar = bool | float | str | None
Body = TypeVar("Body")

MAX_FIELDS = 40
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
MAX_TEXT = 1024
# A body without any of these has no number beyond float8 and no text with half a surrogate pair.
STRANGE = re.compile(rb"NaN|Infinity|\\u[dD]|[eE]\+?\d{3}|\d{200}")
HALF_PAIR = re.compile("[\ud800-\udfff]")


class _Head(Struct, frozen=True, gc=False):
    device_id: Name | None = None
    time: Time | None = None


def _checked(vital: Vital) -> Any:
    """The vital's type, with the range that the door accepts."""
    if vital.type is str:
        return Annotated[str, Meta(max_length=LONGEST_TEXT)] | None
    return Annotated[float, Meta(ge=vital.low, le=vital.high)] | None


HeartbeatBody = cast(
    "type[_Head]",
    msgspec.defstruct(
        "HeartbeatBody",
        [(vital.name, _checked(vital), None) for vital in NAMED_VITALS],
        bases=(_Head,),
        namespace={
            "__doc__": "The named fields of a heartbeat; every other field of the object is one of "
            "its `vitals`."
        },
        frozen=True,
        gc=False,
    ),
)


class HeartbeatMessage(Struct, frozen=True, gc=False):
    """A valid heartbeat: its time in UTC, its named vitals in the order of NAMED_VITALS, and all
    other vitals."""

    device_id: str | None
    time: datetime | None
    named: tuple[Value, ...]
    vitals: dict[str, Scalar]


_decoder = msgspec.json.Decoder(dict[str, Any])
_fields = frozenset(HeartbeatBody.__struct_fields__)
_named_of = attrgetter(*NAMES)
_texts = ("device_id", *(vital.name for vital in NAMED_VITALS if vital.type is str))


def heartbeat_decode(data: bytes, *, received_at: datetime) -> HeartbeatMessage:
    """The heartbeat in a JSON object such as `{"battery_pct": 71.5, "cpu_pct": 3}`.

    `time` is ISO 8601 with a time zone, or seconds since 1970; without it the time is ours.
    Raises InvalidMessage for anything that cannot be stored as it is.
    """
    fields = _parse(data)
    if len(fields) > MAX_FIELDS:
        raise InvalidMessage("$", f"{len(fields)} fields; a heartbeat has at most {MAX_FIELDS}")
    named = {name: fields.pop(name) for name in _fields & fields.keys()}
    try:
        body = msgspec.convert(named, HeartbeatBody)
    except msgspec.ValidationError as error:
        raise from_msgspec(error) from None
    for name in _texts:
        check_text(f"$.{name}", getattr(body, name))
    _check_vitals(fields)
    time = None if body.time is None else device_time(body.time, received_at=received_at)
    return HeartbeatMessage(body.device_id, time, _named_of(body), fields)


def _parse(data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise InvalidMessage("$", "the body is empty; send a JSON object, at least {}")
    return body_decode(_decoder, data)


def body_decode(decoder: msgspec.json.Decoder[Body], data: bytes) -> Body:
    """The decoded body. Raises InvalidMessage if it is not JSON, or not what the decoder accepts;
    the error names the field if possible."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_strange(data)
        if isinstance(error, msgspec.ValidationError):
            raise from_msgspec(error) from None
        raise InvalidMessage("$", not_json(error)) from None


def _refuse_strange(data: bytes) -> None:
    """Raises InvalidMessage, with the field, for NaN, Infinity, numbers that are too large and half
    surrogate pairs. Many JSON encoders write them, and the strict decoder does not say where."""
    if not STRANGE.search(data):
        return
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    for path, part in _parts("$", value):
        if isinstance(part, str) and HALF_PAIR.search(part):
            raise InvalidMessage(path, "text with half of a surrogate pair cannot be stored")
        if isinstance(part, float) and not math.isfinite(part):
            raise InvalidMessage(path, "NaN, Infinity and numbers beyond 1.8e308 cannot be stored")


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The names and values in an object and in objects directly inside it, with their paths."""
    if not isinstance(value, dict):
        yield path, value
    elif path.count(".") < 2:
        for name, inner in value.items():
            yield path, name
            yield from _parts(f"{path}.{name[:64]}", inner)


def _check_vitals(vitals: dict[str, Any]) -> None:
    for name, value in vitals.items():
        path = f"$.{name[:64]}"
        if not 1 <= len(name) <= MAX_NAME:
            raise InvalidMessage(path, f"a field's name must have 1 to {MAX_NAME} characters")
        check_text(path, name)
        if isinstance(value, str):
            check_text(path, value)
        elif isinstance(value, dict | list):
            raise InvalidMessage(path, "expected a number, text, true, false or null")
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**63:
            raise InvalidMessage(path, "the number is too large")


def check_text(path: str, text: str | None) -> None:
    """Raises InvalidMessage for text that PostgreSQL cannot hold, or that is too long."""
    if text is None:
        return
    if "\x00" in text:
        raise InvalidMessage(path, "text with the character U+0000 cannot be stored")
    if len(text) > MAX_TEXT:
        raise InvalidMessage(path, f"text of {len(text)} characters; at most {MAX_TEXT}")


def not_json(error: Exception) -> str:
    return f"this is not JSON: {str(error).removeprefix('JSON is malformed: ')}"


def from_msgspec(error: msgspec.ValidationError) -> InvalidMessage:
    """The same error, reworded, with the JSON path as its field."""
    reason, found_path, path = str(error).rpartition(" - at `")
    if not found_path:
        reason, path = path, ""
    path = path.removeprefix("key` in `").rstrip("`") or "$"
    if path in ("$.time", "$.timestamp"):
        reason = "expected ISO 8601 such as 2026-01-31T12:00:00Z, or seconds since 1970"
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
