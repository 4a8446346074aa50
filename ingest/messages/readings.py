"""Decodes readings from devices and gateways, and says which are invalid and why."""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import body_decode, check_text, not_json
from ingest.messages.times import Time, device_time

MAX_MESSAGES = 5000
MAX_METRICS = 64
MAX_BYTES = 4 * 1024 * 1024
NDJSON = "application/x-ndjson"
BLANKS = " \t\r\n"
SEPARATOR = re.compile(f"[{BLANKS}]*(,|]$)[{BLANKS}]*")
GZIP = b"\x1f\x8b"

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Value = bool | Integer | float | Annotated[str, Meta(max_length=1024)]


class ReadingBody(Struct, gc=False, forbid_unknown_fields=True):
    """A message as it is sent; `site_id` is an alias of `site`."""

    metrics: Annotated[dict[Name, Value], Meta(min_length=1, max_length=MAX_METRICS)]
    device_id: Name | None = None
    time: Time | None = None
    seq: Integer | None = None
    msg_type: Annotated[str, Meta(min_length=1, max_length=32)] = "telemetry"
    site: Annotated[str, Meta(max_length=64)] | None = None
    site_id: Annotated[str, Meta(max_length=64)] | None = None


class _Metrics(Struct):
    """Only the metrics, to find the invalid one."""

    metrics: dict[Name, Value]


class ReadingMessage(NamedTuple):
    """A valid reading and its position in the request. `metrics` is JSON."""

    position: int
    device_id: str | None
    time: datetime
    seq: int | None
    msg_type: str
    site: str | None
    metrics: bytes


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
_lenient = json.JSONDecoder(parse_int=str, parse_float=str, strict=False).raw_decode
_encode = msgspec.json.Encoder().encode


def unpack(body: bytes, *, encoding: str) -> bytes:
    """The body, unpacked if it is gzip; at most MAX_BYTES.

    Raises BodyTooLong, UnknownEncoding, and InvalidMessage if the gzip is invalid, incomplete, or
    followed by more data: then part of the body would not have been read.
    """
    if encoding in ("", "identity"):
        if body.startswith(GZIP):
            raise InvalidMessage("$", "the body is gzip; say so with Content-Encoding: gzip")
        if len(body) > MAX_BYTES:
            raise BodyTooLong
        return body
    if encoding != "gzip":
        raise UnknownEncoding(encoding)
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise InvalidMessage("$", f"the body is not gzip: {error}") from None
    if len(unpacked) > MAX_BYTES:
        raise BodyTooLong
    if not unpacker.eof:
        raise InvalidMessage("$", "the gzip ends too soon; part of the body is missing")
    if unpacker.unused_data:
        raise InvalidMessage("$", "more data follows the gzip; compress the whole body into one")
    return unpacked


def readings_decode(data: bytes, *, lines: bool, received_at: datetime) -> DecodedReadings:
    """The readings in an object, an array or, with `lines`, in NDJSON.

    Invalid messages are refused one by one. Raises InvalidMessage if the whole body is invalid or
    has more than MAX_MESSAGES.
    """
    data = data.strip()
    if not data:
        raise InvalidMessage("$", "the body is empty; send an object or an array of readings")
    is_single = not lines and not data.startswith(b"[")
    parts = [data] if is_single else _bodies(data, lines)
    messages: list[ReadingMessage] = []
    refused: list[Refusal] = []
    clean = b"\\u0000" not in data
    for position, part in enumerate(parts):
        try:
            body = part if isinstance(part, ReadingBody) else _decode_one(part)
            messages.append(_message(position, body, received_at, clean))
        except InvalidMessage as error:
            refused.append(Refusal(position, "invalid", error.field, error.reason))
    return DecodedReadings(messages, refused, is_single)


def messages_in(data: bytes, *, lines: bool) -> list[bytes]:
    """The messages in a body, as they were sent, up to the first that cannot be told from the next;
    at most MAX_MESSAGES."""
    data = data.strip()
    if not lines and not data.startswith(b"["):
        return [data]
    messages: list[bytes] = []
    try:
        messages.extend(islice(_split_lines(data) if lines else _split_array(data), MAX_MESSAGES))
    except InvalidMessage:  # the door has said so already
        return messages
    return messages


def _bodies(data: bytes, lines: bool) -> Sequence[ReadingBody | bytes]:
    """The messages: decoded together if all are valid, otherwise each as it was sent."""
    bodies: Sequence[ReadingBody | bytes] | None
    try:
        bodies = _decode_lines(data) if lines else _many.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        bodies = None
    if bodies is None:
        parts = _split_lines(data) if lines else _split_array(data)
        bodies = list(islice(parts, MAX_MESSAGES + 1))
    if len(bodies) > MAX_MESSAGES:
        raise InvalidMessage("$", f"more than {MAX_MESSAGES} messages; send several requests")
    return bodies


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
    return (line for line in data.split(b"\n") if line.strip())


def _split_array(data: bytes) -> Iterator[bytes]:
    """The elements of an array, as they were sent."""
    try:
        return map(bytes, _raw.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _walk_array(data)


def _walk_array(data: bytes) -> Iterator[bytes]:
    """The same for an array that the strict decoder cannot read to its end. Python's own decoder
    reads past NaN, half surrogate pairs and half characters, so that an error refuses only its own
    message. Raises InvalidMessage where Python's decoder cannot read on either."""
    text = data.decode(errors="surrogateescape").removeprefix("[").lstrip(BLANKS)
    separator, start = ",", 0
    try:
        while separator == ",":
            _, end = _lenient(text, start)
            yield text[start:end].encode(errors="surrogateescape")
            if (found := SEPARATOR.match(text, end)) is None:
                raise ValueError(f"expected , or ] after character {end}")
            separator, start = found[1], found.end()
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("$", not_json(error)) from None


def _decode_one(part: bytes) -> ReadingBody:
    try:
        return body_decode(_one, part)
    except InvalidMessage as error:
        raise _named(error, part) from None


def _named(error: InvalidMessage, part: bytes) -> InvalidMessage:
    """The error with the metric's name, if msgspec only says that one of the metrics is invalid."""
    if error.field != "$.metrics[...]":
        return error
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


def _message(
    position: int, body: ReadingBody, received_at: datetime, clean: bool
) -> ReadingMessage:
    if not clean:
        _check_texts(body)
    return ReadingMessage(
        position,
        body.device_id,
        # Messages without a time get different ones, by their positions in the request.
        received_at + timedelta(microseconds=position)
        if body.time is None
        else device_time(body.time, received_at=received_at),
        body.seq,
        body.msg_type,
        body.site or body.site_id,
        _encode(body.metrics),
    )


def _check_texts(body: ReadingBody) -> None:
    for name in ("device_id", "msg_type", "site", "site_id"):
        check_text(f"$.{name}", getattr(body, name))
    for name, value in body.metrics.items():
        check_text(f"$.metrics.{name}", name)
        check_text(f"$.metrics.{name}", value if isinstance(value, str) else None)
