"""Decodes what devices send, and says precisely what is wrong with it."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Battery = Annotated[float, Meta(ge=0, le=100)]
Name = Annotated[str, Meta(max_length=64)]
Scalar = bool | float | str | None

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_AHEAD = timedelta(days=1)
MAX_VITALS = 32
MAX_TEXT = 1024


class InvalidMessage(ValueError):
    """A message that cannot be accepted: `field` is a JSON path, `reason` says why in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class HeartbeatBody(Struct, frozen=True, gc=False):
    """The named fields of a heartbeat; every other field of the object is one of its `vitals`."""

    device_id: Name | None = None
    time: str | float | None = None
    battery_pct: Battery | None = None
    rssi_dbm: Annotated[float, Meta(ge=-200, le=100)] | None = None
    uptime_s: Annotated[float, Meta(ge=0)] | None = None
    version: Name | None = None


class HeartbeatMessage(Struct, frozen=True, gc=False):
    """A valid heartbeat: the body with its time in UTC and the further vitals."""

    body: HeartbeatBody
    time: datetime | None
    vitals: dict[str, Scalar]


_decoder = msgspec.json.Decoder(dict[str, Any])
_named = frozenset(HeartbeatBody.__struct_fields__)


def heartbeat_decode(data: bytes, *, received_at: datetime) -> HeartbeatMessage:
    """The heartbeat in a JSON object such as `{"battery_pct": 71.5, "cpu_pct": 3}`.

    `time` is ISO 8601 with a time zone, or seconds since 1970; without it the time is ours.
    Raises InvalidMessage for anything that cannot be stored as it is.
    """
    fields = _parse(data)
    named = {name: fields.pop(name) for name in _named & fields.keys()}
    try:
        body = msgspec.convert(named, HeartbeatBody)
    except msgspec.ValidationError as error:
        raise _from_msgspec(error) from None
    for name in ("device_id", "version"):
        _check_text(f"$.{name}", getattr(body, name))
    _check_vitals(fields)
    time = None if body.time is None else _time(body.time, received_at)
    return HeartbeatMessage(body, time, fields)


def _parse(data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise InvalidMessage("$", "the body is empty; send a JSON object, {} at the least")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_number(data)
        if isinstance(error, msgspec.ValidationError):
            raise _from_msgspec(error) from None
        raise InvalidMessage("$", f"this is not JSON: {error}") from None


def _refuse_number(data: bytes) -> None:
    """Names the field of a NaN, an Infinity or a number too large, which other writers of JSON
    let through and the strict decoder refuses without saying where."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidMessage(
                f"$.{name[:64]}", "NaN, Infinity and numbers beyond 1.8e308 cannot be stored"
            )


def _check_vitals(vitals: dict[str, Any]) -> None:
    if len(vitals) > MAX_VITALS:
        raise InvalidMessage("$", f"{len(vitals)} further fields; at most {MAX_VITALS} are kept")
    for name, value in vitals.items():
        path = f"$.{name[:64]}"
        if not 1 <= len(name) <= 64:
            raise InvalidMessage(path, "a field's name has 1 to 64 characters")
        _check_text(path, name)
        if isinstance(value, str):
            _check_text(path, value)
        elif isinstance(value, dict | list):
            raise InvalidMessage(path, "expected a number, a text, true, false or null")
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**63:
            raise InvalidMessage(path, "the number is too large")


def _check_text(path: str, text: str | None) -> None:
    if text is None:
        return
    if "\x00" in text:
        raise InvalidMessage(path, "text with the character U+0000 cannot be stored")
    if len(text) > MAX_TEXT:
        raise InvalidMessage(path, f"text of {len(text)} characters; at most {MAX_TEXT}")


def _time(value: str | float, received_at: datetime) -> datetime:
    time = _time_of_text(value) if isinstance(value, str) else _time_of_seconds(value)
    if time < EARLIEST:
        raise InvalidMessage("$.time", f"{time.isoformat()} is before 2000; is the clock set?")
    if time > received_at + LATEST_AHEAD:
        raise InvalidMessage(
            "$.time",
            f"{time.isoformat()} is more than a day ahead; here it is {received_at.isoformat()}",
        )
    return time


def _time_of_text(text: str) -> datetime:
    try:
        time = msgspec.convert(text, datetime, strict=True)
    except msgspec.ValidationError:
        raise InvalidMessage(
            "$.time", "expected ISO 8601 such as 2026-01-31T12:00:00Z, or seconds since 1970"
        ) from None
    if time.tzinfo is None:
        raise InvalidMessage("$.time", "the time zone is missing; end it with Z for UTC")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidMessage("$.time", "this time is out of range") from None


def _time_of_seconds(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        hint = "; are these milliseconds?" if seconds > 10**11 else ""
        raise InvalidMessage("$.time", f"not a number of seconds since 1970{hint}") from None


def _from_msgspec(error: msgspec.ValidationError) -> InvalidMessage:
    reason, _, path = str(error).partition(" - at `")
    return InvalidMessage(path.rstrip("`") or "$", reason)
