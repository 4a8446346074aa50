import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import heartbeat_decode
from telemetry.vitals import NAMES

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def decode(body: str | bytes) -> object:
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
        ("{", "$", "not JSON"),
        ("nonsense", "$", "not JSON"),
        (b"\xff\xfe{}", "$", "not JSON"),
        ("[]", "$", "array"),
        ("3", "$", "got a whole number"),
        ('{"battery_pct": "12"}', "$.battery_pct", "expected a number, got text"),
        ('{"battery_pct": 100.1}', "$.battery_pct", "100"),
        ('{"battery_pct": -1}', "$.battery_pct", "0"),
        ('{"battery_pct": true}', "$.battery_pct", "got a boolean"),
        ('{"battery_pct": NaN}', "$.battery_pct", "NaN"),
        ('{"cpu_pct": Infinity}', "$.cpu_pct", "Infinity"),
        ('{"cpu_pct": 1e999}', "$.cpu_pct", "1.8e308"),
        ('{"cpu_pct": -1e999}', "$.cpu_pct", "1.8e308"),
        ('{"n": 123456789012345678901234567890}', "$.n", "too large"),
        ('{"version": "a\\u0000b"}', "$.version", "U+0000"),
        ('{"net": "a\\u0000b"}', "$.net", "U+0000"),
        ('{"n\\u0000": 1}', "$.n\x00", "U+0000"),
        ('{"gps": {"lat": 1}}', "$.gps", "expected a number"),
        ('{"list": [1]}', "$.list", "expected a number"),
        ('{"": 1}', "$.", "1 to 64"),
        (f'{{"{"x" * 65}": 1}}', "$." + "x" * 64, "1 to 64"),
        (f'{{"text": "{"x" * 1025}"}}', "$.text", "1025"),
        (json.dumps({f"v{n}": n for n in range(41)}), "$", "41 fields"),
        ("[" * 50_000, "$", ""),
        ('{"a":' * 20_000, "$", ""),
        ('{"time": "1999-12-31T23:59:59Z"}', "$.time", "before 2000"),
        ('{"time": "2025-04-27T12:00:00Z"}', "$.time", "400 days ago"),
        ('{"time": "2026-06-02T12:00:01Z"}', "$.time", "more than a day ahead"),
        ('{"time": "2026-06-01T12:00:00"}', "$.time", "time zone"),
        ('{"time": "yesterday"}', "$.time", "ISO 8601"),
        ('{"time": "9999-12-31T23:59:59-23:00"}', "$.time", "out of range"),
        ('{"time": 1780315200000}', "$.time", "milliseconds"),
        ('{"time": -1}', "$.time", "before 2000"),
        ('{"time": -1e300}', "$.time", "seconds"),
        ('{"time": true}', "$.time", "ISO 8601"),
        ('{"device_id": 7}', "$.device_id", "expected text, got a whole number"),
    ],
)
def test_field_and_reason_are_named_when_a_message_is_invalid(
    body: str | bytes, field: str, words: str
) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(body)

    assert refused.value.field == field
    assert words in refused.value.reason


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
        decode(body)
    except InvalidMessage as refused:
        assert refused.field.startswith("$")
        assert refused.reason


@pytest.mark.parametrize("body", [b'{"\\ud800": NaN}', b'{"a": 1, "\\ud800": 1e999}'])
def test_half_a_character_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(body)
