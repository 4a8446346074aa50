from datetime import datetime, timedelta

import pytest

from ingest.messages.heartbeat import heartbeat_decode
from tests.ingest.messages.test_heartbeat import NOW


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ('"2026-06-01T11:59:00Z"', NOW - timedelta(minutes=1)),
        ('"2026-06-01T13:59:00+02:00"', NOW - timedelta(minutes=1)),
        (str(int(NOW.timestamp()) - 60), NOW - timedelta(minutes=1)),
        ("null", None),
    ],
)
def test_time_is_read_as_utc(time: str, expected: datetime | None) -> None:
    message = heartbeat_decode(f'{{"time": {time}}}'.encode(), received_at=NOW)

    assert message.time == expected
