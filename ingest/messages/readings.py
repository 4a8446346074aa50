"""Decodes readings from devices and gateways, and says which are invalid and why."""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Meta, Raw, Struct

from ingest.messages.bodies import (
    body_decode,
    check_text,
    from_msgspec,
    name_text,
    not_json,
    trimmed,
)
from ingest.messages.errors import InvalidMessage
from ingest.messages.times import (
    TIME_NAMES,
    Time,
    device_time,
    is_time_name,
    may_mean_time,
    times_mend,
)

MAX_MESSAGES = 5000
MAX_METRICS = 256
MAX_BYTES = 4 * 1024 * 1024
BLANKS = " \t\r\n"
SEPARATOR = re.compile(f"[{BLANKS}]*(,|]$)[{BLANKS}]*")
GZIP = b"\x1f\x8b"
# An object that ends before the end of its line, and another that begins on a later line: in one
# object, a comma or a name would be between them.
LINES = re.compile(rb"\}[ \t\r]*\n\s*\{")
# From inside an object: up to the next brace that is not in text.
BRACE = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+([{}])', re.S)
# Between messages: text, or what separates them. Text without an end goes on to the end of the
# body, so that nothing is looked at twice.
BETWEEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.S)
# So many braces, brackets, commas and texts are looked at to split an invalid array: 40 for each of
# MAX_MESSAGES.
MOST_STEPS = 200_000

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Value = bool | Integer | float | Annotated[str, Meta(max_length=1024)]


class ReadingBody(Struct, gc=False, forbid_unknown_fields=True):
    """A message as it is sent. `site_id` is an alias of `site`; `timestamp`, `ts`, `tst` and
    `timestamp_ms` are aliases of `time`. A metric that is null is left out."""

    metrics: Annotated[dict[Name, Value | None], Meta(min_length=1, max_length=MAX_METRICS)]
    device_id: Name | int | None = None
    time: Time | None = None
    seq: Integer | None = None
    msg_type: Annotated[str, Meta(min_length=1, max_length=32)] = "telemetry"
    site: Annotated[str, Meta(max_length=64)] | None = None
    site_id: Annotated[str, Meta(max_length=64)] | None = None
    timestamp: Time | None = None
    ts: Time | None = None
    tst: Time | None = None
    timestamp_ms: Time | None = None


MEASUREMENTS = "measurements go under `metrics`"
FIELDS = f"The fields are {', '.join(ReadingBody.__struct_fields__)}."


class _Metrics(Struct):
    """Only the metrics, to find the invalid one."""

    metrics: dict[Name, Value | None]


class ReadingMessage(NamedTuple):
    """A valid reading and its position in the request. `metrics` is JSON, and `names` a hash of the
    set of its names."""

    position: int
    device_id: str | None
    time: datetime
    seq: int | None
    msg_type: str
    site: str | None
    metrics: bytes
    names: int = 0


class Refusal(NamedTuple):
    """A message that cannot be accepted, by its position in the request. If a limit refused it,
    `retry_after_s` says when it may be sent again."""

    position: int
    code: str
    field: str
    reason: str
    retry_after_s: float = 0.0


class DecodedReadings(NamedTuple):
    messages: list[ReadingMessage]
    refused: list[Refusal]
    is_single: bool


class BodyTooLong(ValueError):
    """The unpacked body is longer than a request may be."""


class UnknownEncoding(ValueError):
    """A Content-Encoding other than gzip."""


_one = msgspec.json.Decoder(ReadingBody)
_many = msgspec.json.Decoder(list[ReadingBody])
_raw = msgspec.json.Decoder(list[Raw])
_fields = msgspec.json.Decoder(dict[str, Any])
_lenient = json.JSONDecoder(parse_int=str, parse_float=str, strict=False).raw_decode
_encode = msgspec.json.Encoder().encode


def unpack(body: bytes, *, encoding: str, limit: int = MAX_BYTES) -> bytes:
    """The body, unpacked if it is gzip; at most `limit` bytes.

    Raises BodyTooLong, UnknownEncoding, and InvalidMessage if the gzip is invalid, incomplete, or
    followed by more data: then part of the body would not have been read.
    """
    if encoding in ("", "identity"):
        if body.startswith(GZIP):
            raise InvalidMessage("$", "the body is gzip; say so with Content-Encoding: gzip")
        if len(body) > limit:
            raise BodyTooLong
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise UnknownEncoding(encoding)
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidMessage("$", f"the body is not gzip: {error}") from None
    if len(unpacked) > limit:
        raise BodyTooLong
    if not unpacker.eof:
        raise InvalidMessage("$", "the gzip ends too soon; part of the body is missing")
    if unpacker.unused_data.strip(b"\x00"):  # what a fixed buffer has left is no data
        raise InvalidMessage("$", "more data follows the gzip; compress the whole body into one")
    return unpacked


def readings_decode(data: bytes, *, lines: bool, received_at: datetime) -> DecodedReadings:
    """The readings in an object, an array or, with `lines`, in NDJSON. Several objects, each on
    lines of its own, are read as NDJSON in any case.

    Invalid messages are refused one by one. Raises InvalidMessage if the whole body is invalid or
    has more than MAX_MESSAGES.
    """
    data = trimmed(data)
    if not data:
        raise InvalidMessage("$", "the body is empty; send an object or an array of readings")
    lines, is_single = _form(data, lines)
    parts = [data] if is_single else _bodies(data, lines)
    messages: list[ReadingMessage] = []
    refused: list[Refusal] = []
    clean = b"\\u0000" not in data
    has_nulls = b"null" in data
    for position, part in enumerate(parts):
        try:
            body = part if isinstance(part, ReadingBody) else _decode_one(part)
            if has_nulls:
                _leave_out_nulls(body)
            messages.append(_message(position, body, received_at, clean))
        except InvalidMessage as error:
            refused.append(Refusal(position, "invalid", error.field, error.reason))
    return DecodedReadings(messages, refused, is_single)


def messages_in(data: bytes, *, lines: bool) -> list[bytes]:
    """The messages in a body, as they were sent; none if they cannot be told apart."""
    data = trimmed(data)
    lines, is_single = _form(data, lines)
    if is_single:
        return [data]
    try:
        return _first(_split_lines(data)) if lines else _split_array(data)
    except InvalidMessage:  # the door has said so already
        return []


def _form(data: bytes, lines: bool) -> tuple[bool, bool]:
    """Whether the messages are on lines of their own, and whether there is only one."""
    is_array = not lines and data.startswith(b"[")
    lines = lines or (not is_array and LINES.search(data) is not None)
    return lines, not lines and not is_array


def _bodies(data: bytes, lines: bool) -> Sequence[ReadingBody | bytes]:
    """The messages: decoded together if all are valid, otherwise each as it was sent."""
    bodies: Sequence[ReadingBody | bytes] | None
    try:
        bodies = _decode_lines(data) if lines else _many.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        bodies = None
    if bodies is None:
        bodies = _first(_split_lines(data)) if lines else _split_array(data)
    if len(bodies) > MAX_MESSAGES:
        raise InvalidMessage("$", f"more than {MAX_MESSAGES} messages; send several requests")
    return bodies


def _first(parts: Iterator[bytes]) -> list[bytes]:
    """One more than a request may have, so that it is known whether there are more."""
    return list(islice(parts, MAX_MESSAGES + 1))


def _decode_lines(data: bytes) -> list[ReadingBody] | None:
    """The messages, or None if they are not one per line: the decoder ignores where lines end.

    If every line starts and ends with a brace, and there are as many objects as lines, then each
    line is one object.
    """
    bodies = _one.decode_lines(data)
    lines = [line.strip() for line in _split_lines(data)]
    whole = all(line.startswith(b"{") and line.endswith(b"}") for line in lines)
    return bodies if whole and len(bodies) == len(lines) else None


def _split_lines(data: bytes) -> Iterator[bytes]:
    return (line for line in map(trimmed, filter(None, data.split(b"\n"))) if line)


def _split_array(data: bytes) -> list[bytes]:
    """The elements of an array, as they were sent. Raises InvalidMessage if it has no end."""
    try:
        return _first(map(bytes, _raw.decode(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            return _first(_walk_array(data))
        except (ValueError, RecursionError):
            return _first(_split_braces(data, not_json(error)))


def _walk_array(data: bytes) -> Iterator[bytes]:
    """The same for an array that the strict decoder cannot finish. Python's own decoder tolerates
    NaN, lone surrogates and invalid UTF-8, so that only the bad message is refused. Raises
    ValueError or RecursionError where Python's decoder fails too."""
    text = data.decode(errors="surrogateescape").removeprefix("[").lstrip(BLANKS)
    separator, start = ",", 0
    while separator == ",":
        _, end = _lenient(text, start)
        yield text[start:end].encode(errors="surrogateescape")
        if (found := SEPARATOR.match(text, end)) is None:
            raise ValueError(f"expected , or ] after character {end}")
        separator, start = found[1], found.end()


def _split_braces(data: bytes, words: str) -> Iterator[bytes]:
    """The same for an array that neither decoder can read: splits it at the commas outside braces
    and text. Raises InvalidMessage, with these words, unless braces and brackets are balanced after
    MOST_STEPS."""
    start = at = 1
    braces, brackets = 0, 1
    for _ in range(MOST_STEPS):
        found = BRACE.match(data, at) if braces else BETWEEN.search(data, at)
        if found is None:
            break
        at = found.end()
        if braces:
            braces += 1 if found[1] == b"{" else -1
            continue
        match found[0]:
            case b"{":
                braces = 1
            case b"[":
                brackets += 1
            case b"]":
                brackets -= 1
            case b"," if brackets == 1:
                yield data[start : at - 1]
                start = at
        if not brackets:
            break
    if brackets or at < len(data):
        raise InvalidMessage("$", words)
    if last := data[start : at - 1].strip():  # not after a comma that nothing follows
        yield last


def _decode_one(part: bytes) -> ReadingBody:
    if not part.strip():
        raise InvalidMessage("$", "there is no message between two commas")
    try:
        return _mended(part) or body_decode(_one, part)
    except InvalidMessage as error:
        raise _named(error, part) from None


def _mended(part: bytes) -> ReadingBody | None:
    """The message, if all that keeps it from being valid is a name or a time in another form."""
    try:
        return _one.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not isinstance(error, msgspec.ValidationError):
            return None
        wrong = from_msgspec(error).field.removeprefix("$.")
        if wrong != "device_id" and not is_time_name(wrong):
            return None
    try:
        fields = _fields.decode(part)
        is_mended = times_mend(fields)
        if isinstance(name := fields.get("device_id"), float):
            fields["device_id"], is_mended = str(name), True
        return msgspec.convert(fields, ReadingBody) if is_mended else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _named(error: InvalidMessage, part: bytes) -> InvalidMessage:
    """The error, with what msgspec does not say: which metric is invalid, which fields there are,
    and where measurements go."""
    if error.reason == "unknown field":
        name = error.field.removeprefix("$.")
        if is_time_name(name) or may_mean_time(name):
            return InvalidMessage(error.field, f"unknown field; did you mean time? {FIELDS}")
        example = f'{MEASUREMENTS}, as in {{"metrics": {{"{name}": 21.5}}}}'
        return InvalidMessage(error.field, f"unknown field; {example}. {FIELDS}")
    return _metric_named(error, part) if error.field == "$.metrics[...]" else error


def _metric_named(error: InvalidMessage, part: bytes) -> InvalidMessage:
    try:
        metrics = msgspec.json.decode(part)["metrics"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:  # later in the body
        return InvalidMessage("$", not_json(broken))
    if not isinstance(metrics, dict):
        return error
    if len(metrics) > MAX_METRICS:
        return InvalidMessage("$.metrics", f"expected at most {MAX_METRICS} fields")
    for name, value in metrics.items():
        try:
            msgspec.convert({"metrics": {name: value}}, _Metrics)
        except msgspec.ValidationError:
            return InvalidMessage(f"$.metrics.{name[:64]}", error.reason)
    return error


def _leave_out_nulls(body: ReadingBody) -> None:
    """Raises InvalidMessage if nothing is left."""
    if None not in body.metrics.values():
        return
    body.metrics = {name: value for name, value in body.metrics.items() if value is not None}
    if not body.metrics:
        raise InvalidMessage("$.metrics", "every metric is null; at least one needs a value")


def _message(
    position: int, body: ReadingBody, received_at: datetime, clean: bool
) -> ReadingMessage:
    if not clean:
        _check_texts(body)
    return ReadingMessage(
        position,
        name_text("$.device_id", body.device_id),
        _other_time(position, body, received_at)
        if body.time is None
        else device_time(body.time, received_at=received_at),
        body.seq,
        body.msg_type,
        body.site or body.site_id,
        _encode(body.metrics),
        _names_hash(tuple(body.metrics)),
    )


# Devices send the same names in the same order again and again.
@lru_cache(maxsize=10_000)
def _names_hash(names: tuple[str, ...]) -> int:
    return crc32("\0".join(sorted(names)).encode())


def _other_time(position: int, body: ReadingBody, received_at: datetime) -> datetime:
    """The time under another name than `time`, or the time of receipt."""
    for name in TIME_NAMES:
        if (sent := getattr(body, name)) is not None:
            return device_time(sent, received_at=received_at, field=f"$.{name}")
    # Messages without a time get different ones, by their positions in the request.
    return received_at + timedelta(microseconds=position)


def _check_texts(body: ReadingBody) -> None:
    for name in ("device_id", "msg_type", "site", "site_id"):
        if isinstance(text := getattr(body, name), str):
            check_text(f"$.{name}", text)
    for name, value in body.metrics.items():
        check_text(f"$.metrics.{name}", name)
        check_text(f"$.metrics.{name}", value if isinstance(value, str) else None)
