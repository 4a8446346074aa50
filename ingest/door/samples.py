"""Samples of refused messages: their structure, without free text, so that no secret is in them.

Names, numbers, true, false and null are shown. Text is shown only in a few fields, and only if it
is short and plain; instead of any other text there is its length. Whatever has a name like that of
a secret is hidden, and so is a body that cannot be read.
"""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ingest.messages.loose import Number, Unreadable, loosely
from ingest.messages.times import TIME_NAMES
from telemetry.vitals import NAMES

SAMPLE_BYTES = 512
# A longer body is neither shown nor searched for the name of its device.
MAX_READ_BYTES = 64 * 1024
MAX_TEXT = 40
MAX_NAME = 64
MAX_FIELD = 80
MAX_REASON = 300
MAX_DEPTH = 4
HIDDEN = "…"

DEVICE_NAMES = frozenset({"device_id", "node_id"})
# Text directly in the message is shown under these names only.
TEXT_NAMES = DEVICE_NAMES.union(TIME_NAMES, NAMES, ("msg_type", "site", "site_id", "seq"))
PLAIN_TEXT = re.compile(rf"[\w .:+,%/()-]{{0,{MAX_TEXT}}}")
# What small clients print in place of a number, and numbers that are no JSON.
NUMBER_LIKE = re.compile(
    r"[+-]?(?:nan|inf|infinity|[0-9.]{1,20}(?:e[+-]?[0-9]{1,4})?)|true|false|null|none|undefined",
    re.IGNORECASE,
)
SECRET_NAME = re.compile(
    r"(?i:key|token|pass|secret|credential|auth|psk|pwd|jwt|cookie|session|private|signature)"
    r"|(?<![A-Za-z])(?i:pin|pw|otp|sid)(?![A-Za-z])|(?<=[a-z])(?:Pin|Pw|Otp|Sid)(?![a-z])"
)
OUR_KEY = re.compile(r"(r[ct]_[A-Za-z0-9]{1,20}_)[A-Za-z0-9]+", re.IGNORECASE)
# Parts of keys look like this, words do not.
RUN = re.compile(r"[^\W_]{20,}")
# In a reason, what was sent where JSON has a value, and text that was sent.
NO_VALUE = re.compile(r"\A\S+(?= (?:is not a JSON value|cannot be stored))")
GOT = re.compile(r"(?<=got “).*(?=”)", re.DOTALL)
HAS_DIGIT = re.compile(r"\S*\d\S*")


class _Named(Struct):
    """The name of a message's device: `device_id`, or a probe's `node_id`."""

    device_id: str | int | None = None
    node_id: str | int | None = None


class Sample(NamedTuple):
    """A refused message, in words: why it was refused, with the value if the field has one; and
    what it said, at most SAMPLE_BYTES."""

    reason: str
    text: str


def sample_make(message: bytes, *, field: str, reason: str) -> Sample:
    """`field` is a JSON path; its value becomes part of the reason."""
    body = _read(message)
    return Sample(reason_words(field, reason, _value_at(body, field)), _sample(message, body))


def reason_words(field: str, reason: str, value: str | None = None) -> str:
    """`battery_pct` 255: expected at most 100"""
    name = field_name(field)
    said = f" {value}" if value is not None else ""
    reason = _without_what_was_sent(reason[: 2 * MAX_REASON], is_secret=_is_secret(field))
    return kept(f"`{name}`{said}: {reason}" if name else reason, MAX_REASON)


def field_name(field: str) -> str:
    """The field of a JSON path, as it may be stored and shown."""
    path = field[: 2 * MAX_FIELD].removeprefix("$").removeprefix(".")
    return kept(_without_runs(path), MAX_FIELD)


def kept(text: str, most: int) -> str:
    """What is stored of a refusal, all of which passes here: at most so many characters, without
    our keys and without what PostgreSQL cannot hold."""
    return OUR_KEY.sub(rf"\1{HIDDEN}", storable(text[: 2 * most]))[:most]


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: U+0000 and halves of surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")


def name_in(message: bytes) -> str | None:
    """The name of the device in a message that may be invalid; None if it cannot be read."""
    if len(message) > MAX_READ_BYTES:
        return None
    try:
        named = _named.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = _fields(message)
        names = (fields.get("device_id"), fields.get("node_id"))
    else:
        names = (named.device_id, named.node_id)
    for name in names:
        if isinstance(name, str | int) and not isinstance(name, bool):
            return storable(str(name))
    return None


def _sample(message: bytes, body: Any) -> str:
    if not message:
        return ""
    if body is msgspec.UNSET:
        size = "1 byte" if len(message) == 1 else f"{len(message):,} bytes"
        return f"{size}, not shown: {'too many' if len(message) > MAX_READ_BYTES else 'not JSON'}"
    text, room = "", SAMPLE_BYTES - len(HIDDEN.encode())
    for piece in map(storable, _pieces(body)):
        room -= len(piece.encode())
        if room < 0:
            return text + HIDDEN
        text += piece
    return text


def _pieces(value: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """The value as JSON, in small pieces, so that one can stop early. `name` is that of a field
    directly in a message, whose text may be shown."""
    match value:
        case dict() | list() if depth >= MAX_DEPTH:
            yield f'"{HIDDEN}"'
        case dict():
            # As in {"name": "api_key", "value": 1}.
            is_secret = any(isinstance(one, str) and _is_secret(one) for one in value.values())
            yield "{"
            for n, (key, one) in enumerate(value.items()):
                yield f"{', ' if n else ''}{_quoted(_name(key))}: "
                hide = _is_secret(key) or (is_secret and key not in TEXT_NAMES)
                shown = key if depth == 0 else ""
                yield from (f'"{HIDDEN}"',) if hide else _pieces(one, shown, depth + 1)
            yield "}"
        case list():
            yield "["
            for n, one in enumerate(value):
                # A batch is a list of messages.
                inner = _pieces(one, "", 0 if depth == 0 and not name else depth + 1)
                yield from chain((", ",) if n else (), inner)
            yield "]"
        case _:
            yield _single(value, name)


def _single(value: Any, name: str) -> str:
    """A number or text, as JSON if possible."""
    match value:
        case Number(text):
            return text if len(text) <= MAX_TEXT else f'"{text[:MAX_TEXT]}{HIDDEN}"'
        case Unreadable(text):
            return text if NUMBER_LIKE.fullmatch(text) else _quoted(_length(text))
        case str():
            return _quoted(_text(value, name))
        case _:
            return json.dumps(value)


def _text(text: str, name: str) -> str:
    """The text if it may be shown under this name, otherwise its length."""
    if NUMBER_LIKE.fullmatch(text):
        return text
    if name not in TEXT_NAMES or not PLAIN_TEXT.fullmatch(text):
        return _length(text)
    if name in DEVICE_NAMES:
        return kept(text, MAX_TEXT)
    is_like = _is_secret(text) and re.search("[ :]", text)
    return _length(text) if is_like else _without_runs(text)


def _length(text: str) -> str:
    return f"{HIDDEN}({len(text)})"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _name(name: str) -> str:
    """The name of a field. Masked before it is cut, or a part of a key would be left."""
    return kept(_without_runs(name[: 2 * MAX_NAME]), MAX_NAME)


def _is_secret(name: str) -> bool:
    return SECRET_NAME.search(name[: 2 * MAX_NAME]) is not None


def _without_runs(text: str) -> str:
    return RUN.sub(_run, OUR_KEY.sub(rf"\1{HIDDEN}", text))


def _run(found: re.Match[str]) -> str:
    run = found[0]
    is_word = len(run) <= MAX_TEXT and (run.isalpha() or run.isdecimal())
    return run if is_word else _length(run)


def _without_what_was_sent(reason: str, *, is_secret: bool) -> str:
    """The reason without text that a sample would not show either."""
    reason = NO_VALUE.sub(lambda found: _text(found[0], ""), reason)
    reason = _without_runs(GOT.sub(lambda found: _text(found[0], "version"), reason))
    return HAS_DIGIT.sub(HIDDEN, reason) if is_secret else reason


def _value_at(body: Any, field: str) -> str | None:
    """The value of a field such as `$.battery_pct` or `$.metrics.temp_c`; None if there is none, if
    it is not a single value, or if it may be a secret."""
    path = field.removeprefix("$.")
    if not field.startswith("$.") or _is_secret(path):
        return None
    first, _, rest = path.partition(".")
    value = body
    for name in (first, rest) if rest else (first,):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return None if isinstance(value, dict | list) else _single(value, path)


def _read(message: bytes) -> Any:
    """What the message says, as far as it can be read; UNSET if it cannot."""
    if len(message) > MAX_READ_BYTES:
        return msgspec.UNSET
    try:
        return loosely(message)
    except (ValueError, RecursionError):
        return msgspec.UNSET


def _fields(message: bytes) -> dict[str, Any]:
    """The fields of a message. Unlike the door, Python's decoder reads past NaN and the like."""
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


_named = msgspec.json.Decoder(_Named)
