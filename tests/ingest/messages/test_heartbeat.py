import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import MAX_FIELDS, HeartbeatMessage, heartbeat_decode
from ingest.messages.times import is_time_name
from telemetry.vitals import NAMES

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def decode(body: str | bytes) -> HeartbeatMessage:
    data = body.encode() if isinstance(body, str) else body
    return heartbeat_decode(data, received_at=NOW)


def test_named_fields_and_vitals_are_told_apart() -> None:
    message = heartbeat_decode(
        b'{"battery_pct": 71.5, "version": "2.1", "cpu_pct": 3, "charging": true, "net": "lte"}',
        received_at=NOW,
    )

    assert dict(zip(NAMES, message.named, strict=True)) == {
        "battery_pct": 71.5,
        "rssi_dbm": None,
        "uptime_s": None,
        "version": "2.1",
    }
    assert message.vitals == {"cpu_pct": 3, "charging": True, "net": "lte"}
    assert message.time is None


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ("", "$", "empty"),
        ("\ufeff \0", "$", "empty"),
        ("{", "$", "not JSON"),
        ("nonsense", "$", "not JSON"),
        ("NaN", "$", "not JSON"),
        (b"\xff\xfe{}", "$", "not JSON"),
        ('{"a": 1 "b": 2}', "$", "not JSON"),
        ('{"a": "b}', "$", "not JSON"),
        ('{"a": 1} {"b": 2}', "$", "not JSON"),
        ("{nan: 1}", "$", "not JSON"),
        ("[]", "$", "array"),
        ("3", "$", "got a whole number"),
        (json.dumps({f"v{n}": n for n in range(41)}), "$", "41 fields"),
        (json.dumps({f"v{n}": None for n in range(40)} | {"battery_pct": -1}), "$", "41 fields"),
        ("[" * 50_000, "$", ""),
        ('{"a":' * 20_000, "$", ""),
        ('{"time": "2025-04-27T12:00:00Z"}', "$.time", "400 days ago"),
        ('{"ts": "2025-04-27T12:00:00Z", "battery_pct": 255}', "$.ts", "400 days ago"),
        ('{"device_id": true}', "$.device_id", "expected text, got a boolean"),
        ('{"device_id": []}', "$.device_id", "expected text, got an array"),
        ('{"device_id": {}}', "$.device_id", "expected text, got an object"),
        ('{"device_id": nan}', "$.device_id", "expected text, got nan"),
        ('{"device_id": "a\\u0000"}', "$.device_id", "U+0000"),
        ('{"device_id": "\\ud800"}', "$.device_id", "surrogate"),
        (f'{{"device_id": "{"x" * 65}"}}', "$.device_id", "at most 64"),
        (f'{{"device_id": {"7" * 65}}}', "$.device_id", "at most 64"),
    ],
)
def test_field_and_reason_are_named_when_a_message_is_invalid(
    body: str | bytes, field: str, words: str
) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(body)

    assert refused.value.field == field
    assert words in refused.value.reason


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ('"battery_pct": 255', "$.battery_pct", "255 is taken as “not known”"),
        ('"battery_pct": 255', "$.battery_pct", "expected a number from 0 to 100"),
        ('"battery_pct": -1', "$.battery_pct", "-1 is taken as “not known”"),
        ('"battery_pct": "255"', "$.battery_pct", "“255” is taken as “not known”"),
        ('"battery_pct": -1.0', "$.battery_pct", "-1.0 is taken as “not known”"),
        ('"battery_pct": 100.1', "$.battery_pct", "100.1 is out of range"),
        ('"battery_pct": "full"', "$.battery_pct", "a number from 0 to 100, got “full”"),
        ('"battery_pct": "nan"', "$.battery_pct", "got “nan”"),
        ('"battery_pct": true', "$.battery_pct", "got true"),
        ('"battery_pct": [71]', "$.battery_pct", "got an array"),
        ('"battery_pct": NaN', "$.battery_pct", "got NaN"),
        ('"battery_pct": -nan', "$.battery_pct", "got -nan"),
        ('"battery_pct": 1e999', "$.battery_pct", "got 1e999"),
        ('"rssi_dbm": 99', "$.rssi_dbm", "expected a number from -200 to 20"),
        ('"rssi_dbm": 127', "$.rssi_dbm", "127 is taken"),
        ('"rssi_dbm": 2147483647', "$.rssi_dbm", "2147483647 is taken"),
        ('"uptime_s": 4294967295', "$.uptime_s", "4294967295 is taken"),
        ('"uptime_s": -5', "$.uptime_s", "expected a number from 0"),
        ('"version": true', "$.version", "expected text, got true"),
        ('"version": ["2.1"]', "$.version", "expected text, got an array"),
        (f'"version": "{"x" * 65}"', "$.version", "at most 64"),
        ('"version": "a\\u0000b"', "$.version", "U+0000"),
        ('"cpu_pct": Infinity', "$.cpu_pct", "Infinity"),
        ('"cpu_pct": inf', "$.cpu_pct", "inf cannot be stored"),
        ('"cpu_pct": 01', "$.cpu_pct", "01 is not a JSON value"),
        ('"cpu_pct": .5', "$.cpu_pct", ".5 is not a JSON value"),
        ('"cpu_pct": -1e999', "$.cpu_pct", "-1e999 is too large"),
        ('"n": 123456789012345678901234567890', "$.n", "too large"),
        (f'"n": {"9" * 5000}', "$.n", "too large"),
        ('"net": "a\\u0000b"', "$.net", "U+0000"),
        ('"net": "\\ud83d"', "$.net", "a lone surrogate"),
        (b'"net": "caf\xe9"', "$.net", "UTF-8"),
        ('"n\\u0000": 1', "$.n\0", "U+0000"),
        ('"\\ud800": 1', "$.\\ud800", "a lone surrogate"),
        ('"gps": {"lat": 1}', "$.gps", "got an object"),
        ('"list": [1]', "$.list", "expected a number, text, true, false or null"),
        ('"": 1', "$.", "1 to 64"),
        (f'"{"x" * 65}": 1', "$." + "x" * 64, "1 to 64"),
        (f'"text": "{"x" * 1025}"', "$.text", "1025"),
        ('"time": "2000-01-01T00:00:00Z"', "$.time", "2000-01-01T00:00:00+00:00 is before 2015"),
        ('"time": "2014-12-31T23:59:59Z"', "$.time", "counts as heard now"),
        ('"time": "2026-06-02T12:00:01Z"', "$.time", "more than a day ahead"),
        ('"time": "9999-12-31T23:59:59-23:00"', "$.time", "out of range"),
        ('"time": -1', "$.time", "before 2015"),
        ('"time": -1e300', "$.time", "seconds"),
        ('"time": 1e999', "$.time", "seconds"),
        ('"timestamp": 12', "$.timestamp", "1970-01-01T00:00:12+00:00 is before 2015"),
        ('"timestamp_ms": 5000', "$.timestamp_ms", "counts as heard now"),
    ],
)
def test_a_value_that_cannot_be_used_is_left_out_and_named(
    wrong: str | bytes, field: str, words: str
) -> None:
    inner = wrong.encode() if isinstance(wrong, str) else wrong

    message = decode(b'{"os": -67.0, ' + inner + b', "carrier": "lte"}')

    (ignored,) = message.ignored
    assert ignored.field == field
    assert words in ignored.reason
    assert message.time is None
    kept = set(message.vitals.values()) | {value for value in message.named if value is not None}
    assert kept == {-67.0, "lte"}


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ('"2026-06-01T12:00:00"', "time zone"),
        ('"yesterday"', "ISO 8601"),
        ("nan", "got nan"),
        ("true", "ISO 8601"),
    ],
)
def test_a_time_that_may_be_old_is_not_taken_for_now(time: str, words: str) -> None:
    with pytest.raises(InvalidMessage, match=words) as error:
        decode(f'{{"battery_pct": 9, "time": {time}}}')
    assert error.value.field == "$.time"


def test_all_that_cannot_be_used_is_named_and_the_rest_kept() -> None:
    message = decode(b'{"battery_pct": 255, "rssi_dbm": nan, "uptime_s": 7, "a": [], "b": 1,}')

    assert [one.field for one in message.ignored] == ["$.battery_pct", "$.rssi_dbm", "$.a"]
    assert dict(zip(NAMES, message.named, strict=True))["uptime_s"] == 7
    assert message.vitals == {"b": 1}


@pytest.mark.parametrize(
    ("sent", "name", "expected"),
    [
        ('{"version": 14}', "version", "14"),
        ('{"version": 2.10}', "version", "2.10"),
        ('{"battery_pct": "71"}', "battery_pct", 71.0),
        ('{"battery_pct": " 71.5 "}', "battery_pct", 71.5),
        ('{"rssi_dbm": "-6.7e1"}', "rssi_dbm", -67.0),
        ('{"battery_pct": 99}', "battery_pct", 99.0),
        ('{"uptime_s": 255}', "uptime_s", 255.0),
        ('{"battery_pct": nan, "battery_pct": 5}', "battery_pct", 5.0),
    ],
)
def test_a_number_is_taken_as_text_and_text_as_a_number(
    sent: str, name: str, expected: float | str
) -> None:
    message = decode(sent)

    assert dict(zip(NAMES, message.named, strict=True))[name] == expected
    assert message.ignored == ()


@pytest.mark.parametrize("sent", ["867322030123456", "89490200001234567890", "1.5"])
def test_a_number_as_device_id_is_its_text(sent: str) -> None:
    assert decode(f'{{"device_id": {sent}}}').device_id == sent
    assert decode(f'{{"device_id": {sent}, "battery_pct": -1}}').device_id == sent


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"battery_pct": 9}',
        b' \r\n\xef\xbb\xbf {"battery_pct": 9}',
        b'{"battery_pct": 9}\0\0\0',
        b'{"battery_pct": 9}\r\n\0\n',
        b'{"battery_pct": 3, "battery_pct": 9}',
    ],
)
def test_what_small_clients_send_around_the_json_does_not_matter(body: bytes) -> None:
    message = decode(body)

    assert message.named[0] == 9
    assert (message.ignored, message.vitals) == ((), {})


def test_other_names_of_named_vitals_are_kept_and_the_named_one_is_suggested() -> None:
    message = decode('{"battery": 3.7, "rssi": -67, "fw_version": "2.1", "cpu_pct": 3}')

    assert message.vitals == {"battery": 3.7, "rssi": -67, "fw_version": "2.1", "cpu_pct": 3}
    assert [tuple(one) for one in message.hints] == [
        ("$.battery", "did you mean battery_pct?"),
        ("$.rssi", "did you mean rssi_dbm?"),
        ("$.fw_version", "did you mean version?"),
    ]


def test_nothing_is_suggested_when_the_named_vital_was_sent_too() -> None:
    assert decode('{"battery": 3.7, "battery_pct": 71}').hints == ()
    assert decode('{"battery_pct": 71, "cpu_pct": 3}').hints == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    ["device_id", "time", "battery_pct", "rssi_dbm", "uptime_s", "version"]
) | st.text(max_size=70)


@settings(max_examples=2000, deadline=None)
@given(st.dictionaries(names, json_values, max_size=8).map(json.dumps) | st.binary(max_size=200))
def test_any_body_is_accepted_or_refused_in_words(body: str | bytes) -> None:
    try:
        message = decode(body)
    except InvalidMessage as refused:
        assert refused.field.startswith("$")
        assert refused.reason
    else:
        # All of it can be sent as JSON and stored.
        sent = msgspec.json.encode([message.named, message.vitals, message.ignored, message.hints])
        assert b"\\u0000" not in msgspec.json.encode([message.named, message.vitals])
        assert sent


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(names, json_values, max_size=MAX_FIELDS))
def test_an_object_is_never_refused_but_for_its_device_id_or_age(body: dict[str, object]) -> None:
    body = {
        name: value
        for name, value in body.items()
        if name != "device_id" and not is_time_name(name)
    }

    assert decode(json.dumps(body)).device_id is None
