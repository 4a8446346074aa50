"""Samples of refused messages: short, readable, and without secrets."""

import json
import re
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

SAMPLE_BYTES = 512
# What is looked at for a sample: masking a whole body would take long.
LOOKED_AT_BYTES = 4 * SAMPLE_BYTES
# A body longer than this is not searched for the name of its device.
MAX_NAMED_BYTES = 64 * 1024
MAX_VALUE = 40
MAX_FIELD = 80
MAX_REASON = 300
HIDDEN = "…"

SECRET = r"(?:key|token|passw|secret|authorization|credential)"
# In each, the first group stays readable.
SECRETS = (
    re.compile(r"(\b(?:rc|rt)_[A-Za-z0-9]{1,20}_)[A-Za-z0-9]+"),
    re.compile(r"(\b(?:Bearer|Basic)\s+)(?!(?:rc|rt)_)[^\s'\",;]+", re.IGNORECASE),
    re.compile(
        rf"([\w.-]{{0,40}}{SECRET}[\w.-]{{0,40}}\\?[\"']?\s*[:=]\s*)"
        r"(?!\s*(?:Bearer|Basic)\b)"
        r"(?:\\?\"(?:[^\"\\]|\\.)*(?:\"|$)|'[^']*(?:'|$)|[\[{][^\]}]*[\]}]?|[^\s,;&}\]]+)",
        re.IGNORECASE,
    ),
)
SECRET_NAME = re.compile(SECRET, re.IGNORECASE)


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
    """The message without secrets. `field` is a JSON path; its value becomes part of the reason."""
    value = _value_at(message, field) if field.startswith("$.") else None
    return Sample(reason_words(field, reason, value), sample_cut(message))


def reason_words(field: str, reason: str, value: str | None = None) -> str:
    """`battery_pct` 255: expected at most 100"""
    name = storable(field.removeprefix("$").removeprefix("."))[:MAX_FIELD]
    said = f" {value}" if value is not None else ""
    words = f"`{name}`{said}: {reason}" if name else reason
    return masked(storable(words))[:MAX_REASON]


def sample_cut(message: bytes) -> str:
    """The start of the message as text, with the values of keys, tokens and passwords masked."""
    if not message:
        return ""
    text = message[:LOOKED_AT_BYTES].decode(errors="replace")
    if text.count("\ufffd") > len(text) // 10 + 3:
        return f"{len(message):,} bytes that are not text: {message[:32].hex(' ')} …"
    return shortened(masked(storable(text)), len(message) > LOOKED_AT_BYTES)


def shortened(text: str, is_cut: bool = False) -> str:
    """At most SAMPLE_BYTES of UTF-8, ending with … if something was left out."""
    data = text.encode()
    if len(data) <= SAMPLE_BYTES and not is_cut:
        return text
    room = SAMPLE_BYTES - len(HIDDEN.encode())
    return data[:room].decode(errors="ignore") + HIDDEN


def masked(text: str) -> str:
    for secret in SECRETS:
        text = secret.sub(rf"\1{HIDDEN}", text)
    return text


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: U+0000 and halves of surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")


def name_in(message: bytes) -> str | None:
    """The name of the device in a message that may be invalid; None if it cannot be read."""
    if len(message) > MAX_NAMED_BYTES:
        return None
    try:
        named = _named.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = _read(message)
        names = (fields.get("device_id"), fields.get("node_id"))
    else:
        names = (named.device_id, named.node_id)
    for name in names:
        if isinstance(name, str | int) and not isinstance(name, bool):
            return storable(str(name))
    return None


def _value_at(message: bytes, field: str) -> str | None:
    """The value of a field such as `$.battery_pct` or `$.metrics.temp_c`; None if there is none, if
    it is not a single value, or if it may be a secret."""
    path = field.removeprefix("$.")
    if len(message) > MAX_NAMED_BYTES or SECRET_NAME.search(path):
        return None
    value: Any = _read(message)
    first, _, rest = path.partition(".")
    for name in (first, rest) if rest else (first,):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    if isinstance(value, dict | list):
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}{HIDDEN}"


def _read(message: bytes) -> dict[str, Any]:
    """The fields of a message. Unlike the door, Python's decoder reads past NaN and the like."""
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


_named = msgspec.json.Decoder(_Named)
