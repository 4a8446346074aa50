import gzip
import json
import os
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.messages.errors import InvalidMessage
from ingest.messages.readings import (
    MAX_BYTES,
    MAX_MESSAGES,
    BodyTooLong,
    DecodedReadings,
    readings_decode,
    unpack,
)
from tests.ingest.messages.test_heartbeat import json_values

EXAMPLES = int(os.environ.get("ROLLCALL_FUZZ_EXAMPLES", "5000"))
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def decode(body: str | bytes, *, lines: bool = False) -> DecodedReadings:
    data = body.encode() if isinstance(body, str) else body
    return readings_decode(data, lines=lines, received_at=NOW)


def test_an_object_an_array_and_lines_are_read_alike() -> None:
    one = '{"seq": 7, "site_id": "north", "time": "2026-06-01T11:59:00Z", "metrics": {"t": 1.5}}'

    single, array, lines = decode(one), decode(f"[{one}]"), decode(f"{one}\n", lines=True)

    assert single.messages == array.messages == lines.messages
    (message,) = single.messages
    assert (message.seq, message.site, message.msg_type) == (7, "north", "telemetry")
    assert message.time == NOW - timedelta(minutes=1)
    assert json.loads(message.metrics) == {"t": 1.5}


def test_numbers_texts_and_booleans_are_kept_as_they_are() -> None:
    (message,) = decode('{"metrics": {"n": 3, "x": 2.5, "ok": true, "mode": "eco"}}').messages

    assert message.metrics == b'{"n":3,"x":2.5,"ok":true,"mode":"eco"}'
    assert message.time == NOW


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ('{"metrics": {}}', "$.metrics", "at least 1 field"),
        ("{}", "$.metrics", "missing"),
        ('{"metrics": {"a": null}}', "$.metrics", "every metric is null"),
        ('{"metrics": {"a": null, "b": null}}', "$.metrics", "every metric is null"),
        ('{"metrics": {"a": nan}}', "$.metrics.a", "nan cannot be stored"),
        ('{"metrics": {"b": 1, "a": -inf}}', "$.metrics.a", "-inf cannot be stored"),
        ('{"metrics": {"b": 1, "a": 01}}', "$.metrics.a", "01 is not a JSON value"),
        ('{"metrics": {"b": 1, "a": +1}}', "$.metrics.a", "+1 is not a JSON value"),
        ('{"metrics": {"a": 1}, "seq": nan}', "$.seq", "nan cannot be stored"),
        ('{"metrics": {"a": 1,}}', "$", "trailing comma"),
        ('{"metrics": {"a": {"b": 1}}}', "$.metrics.a", "got an object"),
        ('{"metrics": {"a": [1]}}', "$.metrics.a", "got an array"),
        ('{"metrics": {"a": NaN}}', "$.metrics.a", "NaN"),
        ('{"metrics": {"a": "\\ud800"}}', "$.metrics.a", "a lone surrogate"),
        ('{"metrics": {"a\\udc00b": 1}}', "$.metrics", "a lone surrogate"),
        ('{"metrics": {"a": 1}, "site": "x\\ud800y"}', "$.site", "a lone surrogate"),
        ('{"metrics": {"a": 1e999}}', "$.metrics.a", "1.8e308"),
        ('{"metrics": {"b": 1, "a": -1.5E+309}}', "$.metrics.a", "1.8e308"),
        (f'{{"metrics": {{"a": {"9" * 250}e99}}}}', "$.metrics.a", "1.8e308"),
        (f'{{"metrics": {{"a": {"9" * 310}.5}}}}', "$.metrics.a", "1.8e308"),
        ('{"metrics": {"a": "\\uD83D"}}', "$.metrics.a", "a lone surrogate"),
        (
            '{"metrics": {"b": 1, "a": 12345678901234567890123}}',
            "$.metrics.a",
            "9223372036854775807",
        ),
        ('{"metrics": {"a": "x\\u0000"}}', "$.metrics.a", "U+0000"),
        ('{"metrics": {"a\\u0000": 1}}', "$.metrics.a\x00", "U+0000"),
        ('{"metrics": {"": 1}}', "$.metrics", "at least 1 character"),
        ('{"metrics": {"a": 1}, "temp": 3}', "$.temp", "unknown field"),
        ('{"temperature": 21.5}', "$.temperature", '{"metrics": {"temperature": 21.5}}'),
        ('{"temperature": 21.5}', "$.temperature", "The fields are metrics, device_id, time, seq"),
        ('{"seq": 1}', "$.metrics", "this field is missing"),
        ('{"metrics": {"a": 1}, "seq": 1.5}', "$.seq", "expected a whole number, got a number"),
        ('{"metrics": {"a": 1}, "msg_type": ""}', "$.msg_type", "at least 1"),
        ('{"metrics": {"a": 1}, "time": "1999-01-01T00:00:00Z"}', "$.time", "before 2000"),
        ('{"metrics": {"a": 1}, "time": "2025-04-27T12:00:00Z"}', "$.time", "400 days ago"),
        ('{"metrics": {"a": 1}, "device_id": true}', "$.device_id", "text, got a boolean"),
        (f'{{"metrics": {{"a": 1}}, "device_id": {"7" * 65}}}', "$.device_id", "at most 64"),
        ("{bad", "$", "not JSON"),
        (
            json.dumps({"metrics": {f"m{n}": n for n in range(257)}}),
            "$.metrics",
            "at most 256 fields",
        ),
        (
            json.dumps({"metrics": {f"m{n}": None for n in range(257)}}),
            "$.metrics",
            "at most 256 fields",
        ),
        (json.dumps({"metrics": {"a": 1}, "k" * 1000: 1}), "$." + "k" * 64, "unknown field"),
        ('{"metrics": {"a": 1}, "x\\ny": 1}', "$.x\ny", "unknown field"),
        (json.dumps({"metrics": {f"m{n}": n for n in range(10_000)}}), "$.metrics", "at most 256"),
    ],
)
def test_the_field_and_the_reason_are_named_when_a_reading_is_wrong(
    body: str, field: str, words: str
) -> None:
    decoded = decode(body)

    (refusal,) = decoded.refused
    assert decoded.messages == []
    assert (refusal.position, refusal.field) == (0, field)
    assert words in refusal.reason


def test_a_message_of_the_last_day_that_is_taken_is_taken() -> None:
    oldest = NOW - timedelta(days=400) + timedelta(seconds=1)

    (message,) = decode(json.dumps({"metrics": {"a": 1}, "time": oldest.isoformat()})).messages

    assert message.time == oldest


def test_good_messages_of_a_bad_batch_are_kept() -> None:
    good = '{"metrics": {"a": 1}}'

    array = decode(f'[{good}, {{"metrics": {{"a": []}}}}, {good}, 7]')
    lines = decode(f"{good}\n{{broken\n\n{good}", lines=True)

    assert [one.position for one in array.messages] == [0, 2]
    assert [one.position for one in array.refused] == [1, 3]
    assert [one.position for one in lines.messages] == [0, 2]
    assert [one.position for one in lines.refused] == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"metrics": {"a": nan}}',
        b'{"metrics": {"a": -inf, "b": {"c": [1, 2]}}}',
        b'{"metrics": {"a": 01}}',
        b'{"metrics": {"a": 1,}}',
        b'{"metrics": {"a": 1}, "note": "} ] , \\" {"}',
        b'{"metrics": {"a": }}',
        b'{"metrics": {"a": [1}}',
        b'{"metrics": {a: 1}}',
        b'{"metrics": {"a": None}}',
        b'{"metrics": {"a": \'x\'}}',
        b'{"metrics": {"a": 1}}}',
        b'{"metrics": {"a": 1}} {"metrics": {"a": 2}}',
        b"nan",
        b"[1, [nan], {}]",
        b'{"metrics": {"a": "\\ud800"}}',
        b'{"metrics": {"a": "\\ud800"}, "b": [1, "\xff]"]}',
        b'{"metrics": {"a": "\xff"}}',
        b'{"metrics": {"a": NaN}}',
        b'{"metrics": {"a": -Infinity}, "b": "\t"}',
        b'{"metrics": {"a": 1%s}}' % (b"0" * 5000),
    ],
)
def test_what_other_writers_of_json_let_through_is_refused_alone(wrong: bytes) -> None:
    good = b'{"device_id": "caf\xc3\xa9, ]", "metrics": {"a": 1}}'

    for separator in (b",", b" ,\r\n\t"):
        array = decode(b"[ " + separator.join([good, wrong, wrong, good]) + b"\n]")

        assert [(one.position, one.device_id) for one in array.messages] == [
            (0, "caf\xe9, ]"),
            (3, "caf\xe9, ]"),
        ]
        assert [one.position for one in array.refused] == [1, 2]
        assert all(one.reason for one in array.refused)
    lines = decode(b"\n".join([good, wrong, good]), lines=True)
    assert [one.position for one in lines.messages] == [0, 2]


@pytest.mark.parametrize(
    "body",
    [
        '{"metrics":\n{"a":1}} {"metrics":{"a":2}}',
        '{"metrics":{"a":1}}{"metrics":\n{"a":2}}',
        '{"metrics":{"a":1}\n}{"metrics":{"a":2}}',
    ],
)
def test_objects_that_are_not_on_lines_of_their_own_are_refused(body: str) -> None:
    decoded = decode(body, lines=True)

    assert decoded.messages == []
    assert [one.position for one in decoded.refused] == [0, 1]


def test_what_is_wrong_is_found_in_little_time_in_many_messages() -> None:
    """Thousands of messages with a wrong metric cost at most a few times as much as valid ones."""
    names = [f'"m{n}": 1' for n in range(63)]

    def seconds(last: str) -> float:
        message = f'{{"metrics": {{{",".join([*names, last])}}}}}'
        body = f"[{','.join([message] * 2000)}]"
        began = time.process_time()
        decode(body)
        return time.process_time() - began

    assert seconds('"z": []') < 12 * seconds('"z": 1')


@pytest.mark.parametrize("more", ["", "\n{broken"])
def test_a_line_with_several_objects_is_refused_whatever_the_others_are(more: str) -> None:
    good = '{"metrics": {"a": 1}}'

    decoded = decode(f"{good}\n\n{good} {good}\n{good}{more}", lines=True)

    assert [one.position for one in decoded.messages] == [0, 2]
    assert decoded.refused[0].position == 1
    assert "trailing characters" in decoded.refused[0].reason


def test_an_empty_array_is_no_error() -> None:
    assert decode("[]") == DecodedReadings([], [], False)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "  ",
        "[1, ",
        "[NaN], 1",
        "[nan], 1",
        "[nan, 1",
        '[{"a": "nan, 1]',
        "[" * 100_000,
        "[nan" * 99_999,
    ],
)
def test_the_whole_is_refused_when_it_cannot_be_understood(body: str) -> None:
    with pytest.raises(InvalidMessage):
        decode(body)


def test_more_messages_than_a_request_may_have_are_refused() -> None:
    with pytest.raises(InvalidMessage, match=str(MAX_MESSAGES)):
        decode("[" + ",".join(['{"metrics":{"a":1}}'] * (MAX_MESSAGES + 1)) + "]")


def test_gzip_is_unpacked_and_bounded_while_unpacking() -> None:
    assert unpack(gzip.compress(b"[]"), encoding="gzip") == b"[]"
    bomb = zlib.compressobj(wbits=31)
    packed = b"".join(bomb.compress(b"\x00" * 1_000_000) for _ in range(100)) + bomb.flush()
    assert len(packed) < 200_000
    with pytest.raises(BodyTooLong):
        unpack(packed, encoding="gzip")
    with pytest.raises(BodyTooLong):
        unpack(b" " * (MAX_BYTES + 1), encoding="")


def test_gzip_that_does_not_say_so_is_told_how() -> None:
    with pytest.raises(InvalidMessage, match="Content-Encoding: gzip"):
        unpack(gzip.compress(b"[]"), encoding="")


@pytest.mark.parametrize("body", [b"", b"plain", gzip.compress(b"[]" * 100, mtime=0)[:-9]])
def test_gzip_that_is_none_or_ends_too_soon_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage, match="gzip"):
        unpack(body, encoding="gzip")


@pytest.mark.parametrize(
    "more", [gzip.compress(b'{"metrics":{"a":2}}', mtime=0), b"more", b"\x00m"]
)
def test_what_follows_a_gzip_is_not_left_out_in_silence(more: bytes) -> None:
    with pytest.raises(InvalidMessage, match="more data follows the gzip"):
        unpack(gzip.compress(b'{"metrics":{"a":1}}\n') + more, encoding="gzip")


def test_what_a_fixed_buffer_has_left_behind_a_gzip_does_not_matter() -> None:
    assert unpack(gzip.compress(b"[]") + b"\0" * 9, encoding="x-gzip") == b"[]"


def test_metrics_that_are_null_are_left_out() -> None:
    body = '{"metrics": {"battery": 100, "illuminance": null, "text": "null"}}'

    for decoded in (decode(body), decode(f"[{body}]"), decode(f"{body}\n", lines=True)):
        (message,) = decoded.messages
        assert json.loads(message.metrics) == {"battery": 100, "text": "null"}
        assert decoded.refused == []


def test_a_message_has_up_to_256_metrics() -> None:
    body = json.dumps({"metrics": {f"m{n}": n for n in range(256)}})

    (message,) = decode(body).messages

    assert len(json.loads(message.metrics)) == 256


@pytest.mark.parametrize("sent", ["867322030123456", "89490200001234567890", "1.5"])
def test_a_number_as_device_id_is_its_text(sent: str) -> None:
    body = f'{{"device_id": {sent}, "metrics": {{"a": 1}}}}'

    for decoded in (decode(body), decode(f"[{body}]"), decode(f"{body}\n", lines=True)):
        assert [one.device_id for one in decoded.messages] == [sent]


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"metrics": {"a": 1}}',
        b'\xef\xbb\xbf[{"metrics": {"a": 1}}]',
        b'{"metrics": {"a": 1}}\0\0',
        b'[{"metrics": {"a": 1}}]\r\n\0',
        b'[{"metrics": {"a": 1}},]',
        b'{"metrics": {"a": 3}, "metrics": {"a": 2, "a": 1}}',
    ],
)
def test_what_small_clients_send_around_the_json_does_not_matter(body: bytes) -> None:
    decoded = decode(body)

    (message,) = decoded.messages
    assert json.loads(message.metrics) == {"a": 1}
    assert decoded.refused == []


def test_marks_and_zeros_around_lines_do_not_matter() -> None:
    line = b'{"metrics": {"a": 1}}'

    decoded = decode(b"\xef\xbb\xbf" + line + b"\0\r\n\xef\xbb\xbf" + line + b"\0\n\0", lines=True)

    assert (len(decoded.messages), decoded.refused) == (2, [])


def test_several_objects_on_lines_of_their_own_are_lines_in_any_case() -> None:
    """MQTT has no Content-Type that says so, and some clients do not know it."""
    good = '{"metrics": {"a": 1}}'

    decoded = decode(f"{good}\n{{nan}}\r\n{good}\n")

    assert [one.position for one in decoded.messages] == [0, 2]
    assert [one.position for one in decoded.refused] == [1]
    pretty = json.dumps({"metrics": {"a": 1}, "site": "north"}, indent=2)
    assert decode(pretty).is_single


def test_nothing_between_two_commas_is_a_message_that_is_refused() -> None:
    good = '{"metrics": {"a": 1}}'

    decoded = decode(f"[{good}, , {good}]")

    assert [one.position for one in decoded.messages] == [0, 2]
    assert [(one.position, one.reason) for one in decoded.refused] == [
        (1, "there is no message between two commas")
    ]


# What may be put at each place of a body. Most is valid JSON, so that decoding gets that far.
PLACES = [
    b"%s",
    b"[%s]",
    b'{"metrics": %s}',
    b'{"metrics": {"a": %s}}',
    b'{"metrics": {%s: 1}}',
    b'{"metrics": {"a": 1, "b": %s}, "seq": 7}',
    b'{"metrics": {"a": 1}, "time": %s}',
    b'{"metrics": {"a": 1}, "device_id": %s}',
    b'{"metrics": {"a": 1}, "seq": %s}',
    b'{"metrics": {"a": 1}, "msg_type": %s}',
    b'{"metrics": {"a": 1}, "site": %s}',
    b'{"metrics": {"a": 1}, %s: 1}',
    b'[{"metrics": {"a": 1}}, %s, {"metrics": {"a": 1}}]',
    b'{"metrics": {"a": 1}}\n%s\n{"metrics": {"a": %s}}',
    b'{"battery_pct": %s}',
    b'{"time": %s, "cpu_pct": %s}',
    b"%s%s",
    b'{"metrics": {"a": [%s, {"b": %s}]}}',
]
VALUES_AT_ONCE = 10


def as_json(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


values = st.lists(
    json_values.map(as_json)
    | st.text(max_size=80).map(as_json)
    | st.integers().map(as_json)
    | st.datetimes().map(lambda time: as_json(time.isoformat() + "Z"))
    | st.floats().map(as_json)
    | st.binary(max_size=20),
    min_size=VALUES_AT_ONCE,
    max_size=VALUES_AT_ONCE,
)


def bodies(values: list[bytes]) -> Iterator[bytes]:
    """Each value at each place: many bodies per example, because drawing an example is slow."""
    for place in PLACES:
        for value in values:
            yield place.replace(b"%s", value)


# How many examples make EXAMPLES bodies.
DRAWN = -(-EXAMPLES // (len(PLACES) * VALUES_AT_ONCE))


@settings(max_examples=DRAWN, deadline=None, database=None)
@given(values)
def test_any_body_is_accepted_or_refused_in_words(values: list[bytes]) -> None:
    for body in bodies(values):
        for lines in (False, True):
            check_decoded(body, lines=lines)


def check_decoded(body: bytes, *, lines: bool) -> None:
    try:
        decoded = decode(body, lines=lines)
    except InvalidMessage as refused:
        assert refused.reason
    else:
        assert all(refusal.reason for refusal in decoded.refused)
        assert all(json.loads(message.metrics) for message in decoded.messages)
