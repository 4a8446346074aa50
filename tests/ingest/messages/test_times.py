from datetime import datetime, timedelta

import pytest

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
