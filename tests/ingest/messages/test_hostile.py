"""Bodies that are meant to keep the server busy take time in proportion to their size."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import thread_time

import pytest

from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import heartbeat_decode
from ingest.messages.readings import MAX_BYTES, MAX_MESSAGES, messages_in, readings_decode

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
# What stands before, what is repeated, and what stands after.
SHAPES = {
    "unclosed text": (b'["', b'\\"', b""),
    "unclosed text in an object": (b'{"a":"', b'\\"', b""),
    "unclosed text in an array": (b'[{"a":"', b'\\"', b""),
    "unclosed text that ends with a backslash": (b'["', b'\\"', b"\\"),
    "the same in an object": (b'{"a":"', b'\\"', b"\\"),
    "texts and backslashes": (b"[", b'"\\', b""),
    "quotes": (b"[", b'"', b""),
    "quotes in an object": (b"{", b'"', b""),
    "backslashes": (b'["', b"\\", b""),
    "brackets": (b"", b"[", b""),
    "braces": (b"", b"{", b""),
    "braces in an array": (b"[", b"{", b""),
    "nested objects": (b"", b'{"a":', b""),
    "nested objects in an array": (b"[", b'{"a":', b""),
    "arrays": (b"[", b"[],", b"x"),
    "arrays in an array": (b"[[", b"[],", b"[]]x"),
    "arrays in an object": (b'[{"a":[', b"[],", b"[]]}x"),
    "nan": (b"", b"nan,", b""),
    "nan in an array": (b"[", b"nan,", b"nan]"),
    "nan in an object": (b"{", b'"a":nan,', b"}"),
    "objects with nan": (b"[", b'{"metrics":{"a":nan}},', b"{}]"),
    "commas": (b"[", b",", b"]"),
    "commas and blanks": (b'{"a":1', b",   ", b"x"),
    "numbers": (b"[", b"0,", b"0]"),
    "digits": (b'{"time":', b"9", b"}"),
    "runs of digits": (b'{"metrics":5,"x":[', b"1" * 199 + b",", b"1]}"),
    "lines": (b"", b"{}\n", b""),
    "blank lines": (b"{}", b"\n", b"x"),
    "ends of objects": (b"{", b"}\n", b"x"),
}
DECODERS: dict[str, Callable[[bytes], object]] = {
    "heartbeat": lambda data: heartbeat_decode(data, received_at=NOW),
    "readings": lambda data: readings_decode(data, lines=False, received_at=NOW),
    "lines": lambda data: readings_decode(data, lines=True, received_at=NOW),
    "messages": lambda data: messages_in(data, lines=False),
    "messages on lines": lambda data: messages_in(data, lines=True),
}


def body_of(shape: str, size: int) -> bytes:
    before, repeated, after = SHAPES[shape]
    return before + repeated * ((size - len(before) - len(after)) // len(repeated)) + after


def seconds(decode: Callable[[bytes], object], data: bytes) -> float:
    start = thread_time()
    with suppress(InvalidMessage):
        decode(data)
    return thread_time() - start


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("shape", [*SHAPES, "half brackets"])
def test_a_hostile_body_takes_time_in_proportion_to_its_size(shape: str, decoder: str) -> None:
    def took(size: int) -> float:
        if shape == "half brackets":
            return seconds(DECODERS[decoder], b"[" * (size // 2) + b"]" * (size // 2) + b"x")
        return seconds(DECODERS[decoder], body_of(shape, size))

    def took_at_best(size: int) -> float:
        """Without what else the process does, such as collecting garbage."""
        return min(took(size) for _ in range(3))

    # Time in proportion to the square would be 16 times as long: a quarter of an hour for 256 KB.
    assert took_at_best(32 * 1024) < 10 * max(took_at_best(8 * 1024), 0.02)
    assert took(256 * 1024) < 3
    assert took(MAX_BYTES) < 6


@pytest.mark.parametrize("body", [b"[" + b"0," * MAX_MESSAGES + b"0]", b"[" + b"0," * 9000 + b"x]"])
def test_no_more_messages_are_told_apart_than_a_request_may_have(body: bytes) -> None:
    with pytest.raises(InvalidMessage, match="more than 5000 messages"):
        readings_decode(body, lines=False, received_at=NOW)

    assert len(messages_in(body, lines=False)) == MAX_MESSAGES + 1


def test_a_bad_message_costs_no_neighbour_however_large_the_batch() -> None:
    good = b'{"metrics": {"a": 1, "b": "[{,\\"}]"}}'
    body = b"[" + b",".join([good, b'{"metrics": {"a": 01}}'] * (MAX_MESSAGES // 2)) + b",]"

    decoded = readings_decode(body, lines=False, received_at=NOW)

    assert len(decoded.messages) == len(decoded.refused) == MAX_MESSAGES // 2
    assert messages_in(body, lines=False)[0] == good
