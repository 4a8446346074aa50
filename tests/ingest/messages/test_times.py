from datetime import datetime, timedelta

import pytest

from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import heartbeat_decode
from ingest.messages.readings import readings_decode
from ingest.messages.times import TIME_NAMES
from tests.ingest.messages.test_heartbeat import NOW


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ('"2026-06-01T11:59:00Z"', NOW - timedelta(minutes=1)),
        ('"2026-06-01T13:59:00+02:00"', NOW - timedelta(minutes=1)),
        (str(int(NOW.timestamp()) - 60), NOW - timedelta(minutes=1)),
        (str(int(NOW.timestamp() - 60) * 10**3), NOW - timedelta(minutes=1)),
        (str(int(NOW.timestamp() - 60) * 10**6), NOW - timedelta(minutes=1)),
        (str(int(NOW.timestamp() - 60) * 10**9), NOW - timedelta(minutes=1)),
        (f"{NOW.timestamp() - 60:.3f}", NOW - timedelta(minutes=1)),
        (f'"{NOW.timestamp() - 60:.0f}"', NOW - timedelta(minutes=1)),
        ('"2026-06-01T13:59:00+0200"', NOW - timedelta(minutes=1)),
        ('"2026-06-01 11:59:00Z"', NOW - timedelta(minutes=1)),
        ('"2026-06-01T11:59Z"', NOW - timedelta(minutes=1)),
        ("null", None),
    ],
)
@pytest.mark.parametrize("name", TIME_NAMES)
def test_time_is_read_as_utc_under_each_of_its_names(
    name: str, time: str, expected: datetime | None
) -> None:
    heartbeat = heartbeat_decode(f'{{"{name}": {time}}}'.encode(), received_at=NOW)
    reading = f'{{"{name}": {time}, "metrics": {{"a": 1}}}}'.encode()
    alone = readings_decode(reading, lines=False, received_at=NOW)
    batch = readings_decode(b"[" + reading + b"]", lines=False, received_at=NOW)

    assert (heartbeat.time, heartbeat.ignored) == (expected, ())
    assert [one.time for one in (*alone.messages, *batch.messages)] == [expected or NOW] * 2


def test_time_wins_over_its_other_names() -> None:
    body = b'{"ts": 1, "time": "2026-06-01T11:59:00Z", "timestamp": 7, "metrics": {"a": 1}}'
    (reading,) = readings_decode(body, lines=False, received_at=NOW).messages
    heartbeat = heartbeat_decode(body.replace(b'"metrics": {"a": 1}', b'"a": 1'), received_at=NOW)

    assert reading.time == heartbeat.time == NOW - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ('"time": "1999-01-01T00:00:00Z"', "before 2000"),
        ('"time": "2026-06-02T12:00:01Z"', "more than a day ahead"),
        ('"ts": 1990000000000', "more than a day ahead"),
        ('"timestamp": "2026-06-01T12:00:00"', "time zone"),
        ('"tst": "noon"', "ISO 8601"),
        ('"tst": 12', "before 2000"),
    ],
)
def test_a_reading_is_never_timed_anew_but_refused_by_itself(field: str, words: str) -> None:
    good = '{"metrics": {"a": 1}}'
    body = f'[{good}, {{{field}, "metrics": {{"a": 2}}}}, {good}]'.encode()

    decoded = readings_decode(body, lines=False, received_at=NOW)

    (refusal,) = decoded.refused
    assert refusal.position == 1
    assert refusal.field == "$." + field.split('"')[1]
    assert words in refusal.reason
    assert [one.position for one in decoded.messages] == [0, 2]


@pytest.mark.parametrize("name", ["time", "tst", "Timestamp"])
@pytest.mark.parametrize(
    "digits", ["20260529", "202605291658", "20260529165817", "20261129165817", "20260529165817123"]
)
@pytest.mark.parametrize("form", ["{}", '"{}"', "{}.25"])
def test_a_calendar_time_without_separators_is_refused_as_unclear(
    name: str, digits: str, form: str
) -> None:
    sent = f'"{name}": {form.format(digits)}'

    with pytest.raises(InvalidMessage, match=r"reads as a calendar date.*ISO 8601") as refused:
        heartbeat_decode(f'{{{sent}, "cpu_pct": 3}}'.encode(), received_at=NOW)
    (reading,) = readings_decode(
        f'{{{sent}, "metrics": {{"a": 1}}}}'.encode(), lines=False, received_at=NOW
    ).refused

    assert refused.value.field == f"$.{name}"
    assert "ISO 8601" in reading.reason


@pytest.mark.parametrize(
    "number",
    ["20261301", "21261129", "20140101", "202605292460", "20260529165890", "-20260529", "1e300"],
)
def test_another_number_far_from_now_is_the_time_of_a_wrong_clock(number: str) -> None:
    message = heartbeat_decode(f'{{"time": {number}}}'.encode(), received_at=NOW)

    assert message.time is None
    assert "heard now" in message.ignored[0].reason


@pytest.mark.parametrize("name", ["Time", "TIME", "Timestamp", "timeStamp", "TS", "Timestamp_MS"])
def test_a_name_of_the_time_is_known_in_any_case(name: str) -> None:
    sent = f'"{name}": "2026-06-01T11:59:00Z"'
    heartbeat = heartbeat_decode(f'{{{sent}, "cpu_pct": 3}}'.encode(), received_at=NOW)
    decoded = readings_decode(
        f'[{{{sent}, "metrics": {{"a": 1}}}}]'.encode(), lines=False, received_at=NOW
    )

    assert heartbeat.time == NOW - timedelta(minutes=1)
    assert (heartbeat.vitals, heartbeat.hints) == ({"cpu_pct": 3}, ())
    assert [one.time for one in decoded.messages] == [heartbeat.time]
    with pytest.raises(InvalidMessage, match=f"{name}: .* days ago"):
        heartbeat_decode(f'{{"{name}": "2025-04-27T12:00:00Z"}}'.encode(), received_at=NOW)


def test_the_exact_name_of_the_time_wins() -> None:
    body = b'{"Time": 7, "time": "2026-06-01T11:59:00Z"}'
    message = heartbeat_decode(body, received_at=NOW)

    assert message.time == NOW - timedelta(minutes=1)
    assert message.vitals == {"Time": 7}


@pytest.mark.parametrize(
    "name",
    ["datetime", "DateTime", "date_time", "recorded_at", "created_at", "createdAt", "timestampMs"],
)
def test_a_field_that_may_be_the_time_is_answered_with_a_hint(name: str) -> None:
    def hints(body: str) -> list[tuple[str, str]]:
        message = heartbeat_decode(body.encode(), received_at=NOW)
        return [(hint.field, hint.reason) for hint in message.hints]

    sent = f'"{name}": "2026-06-01T11:59:00Z"'
    reading = f'{{{sent}, "metrics": {{"a": 1}}}}'.encode()

    assert hints(f"{{{sent}}}") == [(f"$.{name}", "did you mean time?")]
    assert hints(f'{{{sent}, "time": 1780315200}}') == []
    assert hints(f'{{"{name}": null}}') == []
    (refusal,) = readings_decode(reading, lines=False, received_at=NOW).refused
    assert "did you mean time?" in refusal.reason
