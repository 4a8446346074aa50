import logging

import pytest

from ingest.mqtt.batch import BatchOutcome, Refused
from ingest.mqtt.tally import Tally

BAD = Refused("invalid", "tenant/acme/device/a/telemetry", "metrics: missing")


def test_each_reason_is_told_once_until_the_line_that_counts_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally("1")
    for _ in range(3):
        tally.add(BatchOutcome(accepted=2, refused=[BAD, BAD]))
    tally.add(
        BatchOutcome(accepted=0, refused=[Refused("limit", "tenant/acme/device/b", "too many")])
    )

    assert caplog.messages == [
        "refused (invalid) tenant/acme/device/a/telemetry: metrics: missing",
        "refused (limit) tenant/acme/device/b: too many",
    ]
    tally.report()
    assert caplog.messages[2].startswith("bridge 1: 6 messages accepted in ")
    assert caplog.messages[2].endswith(" 7 refused, 6 invalid, 1 limit")

    tally.add(BatchOutcome(accepted=0, refused=[BAD]))
    tally.report()
    assert caplog.messages[3] == caplog.messages[0]
    assert "0 messages accepted" in caplog.messages[4]


def test_a_line_comes_when_a_minute_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now_s = 1000.0
    monkeypatch.setattr("ingest.mqtt.tally.monotonic", lambda: now_s)
    tally = Tally("1")
    tally.add(BatchOutcome(accepted=120, refused=[]))
    now_s += 59
    tally.report_when_due()
    assert caplog.messages == []

    now_s += 1
    tally.report_when_due()

    assert caplog.messages == ["bridge 1: 120 messages accepted in 60 s (2/s), 0 refused"]
