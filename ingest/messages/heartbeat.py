"""Decodes heartbeats, and says which of their values cannot be used."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, cast

import msgspec
from msgspec import Meta, Struct

from ingest.messages.bodies import (
    KINDS,
    MAX_NAME,
    body_decode,
    check_text,
    name_text,
    not_a_value,
    not_json,
    text_problem,
    trimmed,
)
from ingest.messages.errors import InvalidMessage
from ingest.messages.loose import SHOWN, Number, Unreadable, loosely, printable
from ingest.messages.times import (
    NO_TIME,
    TIME_NAMES,
    Time,
    WrongClock,
    device_time,
    is_time_name,
    may_mean_time,
    time_of_text,
)
from telemetry.vitals import (
    LONGEST_TEXT,
    NAMED_VITALS,
    NAMES,
    OTHER_NAMES,
    SENTINELS,
    Value,
    Vital,
)

Name = Annotated[str, Meta(max_length=MAX_NAME)]
Scalar = bool | float | str | None

# Besides those that say whose heartbeat it is, and from when.
MAX_FIELDS = 40
UNCOUNTED = ("device_id", "time")
LARGEST_WHOLE = 2**63
# A clock that shows an earlier time was never set.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
HEARD_NOW = "the heartbeat counts as heard now"


class _Head(Struct, frozen=True, gc=False):
    device_id: Name | int | None = None
    time: Time | None = None


def _checked(vital: Vital) -> Any:
    """The vital's type, with the range that the door accepts."""
    if vital.type is str:
        return Annotated[str, Meta(max_length=LONGEST_TEXT)] | None
    return Annotated[float, Meta(ge=vital.low, le=vital.high)] | None


def _is_out_of_range(vital: Vital, number: float) -> bool:
    is_below = vital.low is not None and number < vital.low
    return is_below or (vital.high is not None and number > vital.high)


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


class Ignored(NamedTuple):
    """A value that was left out of a heartbeat: its JSON path, and why."""

    field: str
    reason: str


class Hint(NamedTuple):
    """A field that may have been meant as another one."""

    field: str
    reason: str


class HeartbeatMessage(Struct, frozen=True, gc=False):
    """A valid heartbeat: its time in UTC, its named vitals in the order of NAMED_VITALS, and all
    other vitals. `ignored` are the values that could not be used."""

    device_id: str | None
    time: datetime | None
    named: tuple[Value, ...]
    vitals: dict[str, Scalar]
    ignored: tuple[Ignored, ...] = ()
    hints: tuple[Hint, ...] = ()


_decoder = msgspec.json.Decoder(dict[str, Any])
_fields = frozenset(HeartbeatBody.__struct_fields__)
_named_of = attrgetter(*NAMES)
_texts = ("device_id", *(vital.name for vital in NAMED_VITALS if vital.type is str))
# Of the sentinels, those that the vital's range does not exclude.
_sentinels = frozenset[Value](
    value
    for vital in NAMED_VITALS
    for value in SENTINELS.get(vital.name, ())
    if not _is_out_of_range(vital, value)
)


def heartbeat_decode(data: bytes, *, received_at: datetime) -> HeartbeatMessage:
    """The heartbeat in a JSON object such as `{"battery_pct": 71.5, "cpu_pct": 3}`.

    `time` is ISO 8601 with a time zone, or a number since 1970; without it the time is ours. A
    value that cannot be stored is left out and named in `ignored`, and so is the time of a wrong
    clock. Raises InvalidMessage if the body is no JSON object or has too many fields, if its
    device_id cannot be one, and if its time has no zone or is at least INGEST_OLDEST_DAYS ago.
    """
    data = trimmed(data)
    try:
        message = _strictly(data, received_at)
    except (InvalidMessage, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = None
    return message or _leniently(data, received_at)


def _strictly(data: bytes, received_at: datetime) -> HeartbeatMessage | None:
    """The heartbeat, if nothing about it is unusual; otherwise raises an error or returns None."""
    fields = _decoder.decode(data)
    if len(fields) > MAX_FIELDS and _count(fields) > MAX_FIELDS:
        return None
    named = {name: fields.pop(name) for name in _fields & fields.keys()}
    if not _are_storable(fields) or _are_unusual(tuple(fields)):
        return None
    body = msgspec.convert(named, HeartbeatBody)
    values = _named_of(body)
    if not _sentinels.isdisjoint(values):
        return None
    for name in _texts:
        if isinstance(text := getattr(body, name), str):
            check_text(f"$.{name}", text)
    device_id = name_text("$.device_id", body.device_id)
    time = None
    if body.time is not None:
        time = device_time(body.time, received_at=received_at, earliest=EARLIEST)
    return HeartbeatMessage(device_id, time, values, fields)


def _count(fields: Mapping[str, Any]) -> int:
    """How many fields count towards MAX_FIELDS. A rejected heartbeat is kept with its device and
    its time, and is still accepted when it is replayed."""
    return len(fields) - sum(name in fields for name in UNCOUNTED)


# Devices send the same names again and again.
@lru_cache(maxsize=1000)
def _are_unusual(names: tuple[str, ...]) -> bool:
    """Whether one of the fields may have been meant as the time or as a named vital."""
    return any(name in OTHER_NAMES or is_time_name(name) or may_mean_time(name) for name in names)


def _are_storable(vitals: Mapping[str, Any]) -> bool:
    for name, value in vitals.items():
        if not 1 <= len(name) <= MAX_NAME or "\x00" in name:
            return False
        if isinstance(value, str):
            is_storable = text_problem(value) is None
        elif isinstance(value, int):
            is_storable = abs(value) <= LARGEST_WHOLE
        else:
            is_storable = not isinstance(value, dict | list)
        if not is_storable:
            return False
    return True


def _leniently(data: bytes, received_at: datetime) -> HeartbeatMessage:
    """The heartbeat, without the values that cannot be used."""
    fields = _read(data)
    if (count := _count(fields)) > MAX_FIELDS:
        raise InvalidMessage("$", f"{count} fields; a heartbeat has at most {MAX_FIELDS}")
    ignored: list[Ignored] = []
    device_id = _device_id(fields.pop("device_id", None))
    time_name = _time_name(fields)
    time = _take_time(time_name, fields, received_at, ignored)
    named = _take_named(fields, ignored)
    vitals = _take_vitals(fields, ignored)
    hints = [*_hints(vitals, named), *([] if time_name else _time_hints(vitals))]
    return HeartbeatMessage(device_id, time, named, vitals, tuple(ignored), tuple(hints))


def _read(data: bytes) -> dict[str, Any]:
    if not data:
        raise InvalidMessage("$", "the body is empty; send a JSON object, at least {}")
    try:
        fields = loosely(data)
        if isinstance(fields, dict):
            return fields
        problem = f"expected an object, got {_kind(fields)}"
    except (ValueError, RecursionError) as error:
        problem = not_json(error)
    body_decode(_decoder, data)  # its words are better: it reads the body as it was sent
    raise InvalidMessage("$", problem)


def _device_id(sent: Any) -> str | None:
    """The device's name. Raises InvalidMessage if it cannot be one."""
    if isinstance(sent, Number):
        sent = sent.text
    if sent is None:
        return None
    if not isinstance(sent, str):
        raise InvalidMessage("$.device_id", f"expected text, got {_kind(sent)}")
    check_text("$.device_id", sent)
    if len(sent) > MAX_NAME:
        raise InvalidMessage("$.device_id", f"expected at most {MAX_NAME} characters")
    return sent


def _time_name(fields: Mapping[str, Any]) -> str | None:
    """Which field is the time: the first of TIME_NAMES that was sent, in any case."""
    return min(
        (name for name, sent in fields.items() if sent is not None and is_time_name(name)),
        key=lambda name: (TIME_NAMES.index(name.lower()), name not in TIME_NAMES),
        default=None,
    )


def _take_time(
    name: str | None, fields: dict[str, Any], received_at: datetime, ignored: list[Ignored]
) -> datetime | None:
    """The time, from the field with this name. None if there is none, or if the clock is wrong:
    then it is ignored. Any other time that cannot be used costs the heartbeat, because a backlog
    must not make its device look alive: raises InvalidMessage."""
    sent, field = fields.pop(name, None) if name else None, f"$.{name}"
    fields.pop("time", None)
    if sent is None:
        return None
    try:
        return device_time(
            _as_time(sent, field), received_at=received_at, field=field, earliest=EARLIEST
        )
    except WrongClock as error:
        ignored.append(Ignored(field, f"{error.reason}; {HEARD_NOW}"))
        return None


def _as_time(sent: Any, field: str) -> datetime | float:
    """The time as it was sent. Raises InvalidMessage if it is none."""
    if isinstance(sent, Number):
        return float(sent.text)
    if isinstance(sent, str) and (time := time_of_text(sent)) is not None:
        return time
    raise InvalidMessage(field, f"{NO_TIME}, got {_shown(sent)}")


def _take_named(fields: dict[str, Any], ignored: list[Ignored]) -> tuple[Value, ...]:
    return tuple(_named(vital, fields.pop(vital.name, None), ignored) for vital in NAMED_VITALS)


def _named(vital: Vital, sent: Any, ignored: list[Ignored]) -> Value:
    """The vital's value, None if it was not sent or is ignored. A number is taken as text, and text
    that is a number as a number, if that is what the vital is."""
    if sent is None:
        return None
    value, reason = _text_of(sent) if vital.type is str else _number_of(vital, sent)
    if reason:
        ignored.append(Ignored(f"$.{vital.name}", reason))
    return value


def _text_of(sent: Any) -> tuple[str | None, str]:
    text = sent.text if isinstance(sent, Number) else sent
    if not isinstance(text, str):
        return None, f"expected text, got {_shown(text)}"
    if problem := text_problem(text):
        return None, problem
    if len(text) > LONGEST_TEXT:
        return None, f"text of {len(text)} characters; at most {LONGEST_TEXT}"
    return text, ""


def _number_of(vital: Vital, sent: Any) -> tuple[float | None, str]:
    allowed = vital_range(vital)
    number = _number(sent)
    if number is None:
        return None, f"expected {allowed}, got {_shown(sent)}"
    if number in SENTINELS.get(vital.name, ()):
        return None, f"{_shown(sent)} is taken as “not known”; expected {allowed}"
    if _is_out_of_range(vital, number):
        return None, f"{_shown(sent)} is out of range; expected {allowed}"
    return number, ""


def _number(sent: Any) -> float | None:
    """The number, which may be sent as text; None if there is none that can be stored."""
    if isinstance(sent, str):
        try:
            sent = loosely(sent.strip().encode())
        except (ValueError, RecursionError):
            return None
    value = sent.value if isinstance(sent, Number) else None
    return None if value is None else float(value)


def vital_range(vital: Vital) -> str:
    """What the vital may be, such as `a number from 0 to 100`."""
    if vital.type is str:
        return f"text of at most {LONGEST_TEXT} characters"
    if vital.low is None:
        return "a number" if vital.high is None else f"a number up to {vital.high:g}"
    if vital.high is None:
        return f"a number from {vital.low:g}"
    return f"a number from {vital.low:g} to {vital.high:g}"


def _take_vitals(fields: dict[str, Any], ignored: list[Ignored]) -> dict[str, Scalar]:
    vitals: dict[str, Scalar] = {}
    for name, sent in fields.items():
        if reason := _name_problem(name) or _problem(sent):
            ignored.append(Ignored(f"$.{printable(name, most=MAX_NAME)}", reason))
        else:
            vitals[name] = sent.value if isinstance(sent, Number) else sent
    return vitals


def _name_problem(name: str) -> str | None:
    if not 1 <= len(name) <= MAX_NAME:
        return f"a field's name must have 1 to {MAX_NAME} characters"
    return text_problem(name)


def _problem(sent: Any) -> str | None:
    """Why this cannot be the value of a vital; None if it can."""
    match sent:
        case Unreadable(text):
            return not_a_value(text)
        case Number() if sent.value is None:
            return f"the number {_shown(sent)} is too large"
        case str():
            return text_problem(sent)
        case dict() | list():
            return f"expected a number, text, true, false or null, got {_kind(sent)}"
        case _:
            return None


def _time_hints(vitals: Mapping[str, Any]) -> list[Hint]:
    """Which of the vitals may have been meant as the time."""
    return [
        Hint(f"$.{name}", "did you mean time?")
        for name, value in vitals.items()
        if value is not None and may_mean_time(name)
    ]


def _hints(vitals: Mapping[str, Any], named: tuple[Value, ...]) -> tuple[Hint, ...]:
    """Which of the vitals may have been meant as a named vital that was not sent."""
    missing = {name for name, value in zip(NAMES, named, strict=True) if value is None}
    return tuple(
        Hint(f"$.{name}", f"did you mean {OTHER_NAMES[name]}?")
        for name in vitals
        if OTHER_NAMES.get(name) in missing
    )


def _kind(sent: Any) -> str:
    match sent:
        case None:
            return "null"
        case bool():
            return KINDS["bool"]
        case Number(text):
            return KINDS["int" if text.lstrip("-").isdecimal() else "float"]
        case str():
            return KINDS["str"]
        case dict():
            return KINDS["object"]
        case list():
            return KINDS["array"]
        case _:
            return _shown(sent)


def _shown(sent: Any) -> str:
    """The value in few characters, or what it is."""
    match sent:
        case Number(text) | Unreadable(text):
            return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        case str():
            return f"“{printable(sent)}”" if len(sent) <= SHOWN else f"“{printable(sent)}…”"
        case bool():
            return "true" if sent else "false"
        case _:
            return _kind(sent)
