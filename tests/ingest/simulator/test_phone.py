from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.messages.heartbeat import heartbeat_decode
from ingest.simulator.phone import Rotation
from telemetry.vitals import NAMES
from tests.ingest.simulator.door import NOON, phones


@given(
    st.integers(1, 60), st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.floats(1, 100), st.floats(0, 1e5)
)
@settings(max_examples=200, deadline=None)
def test_the_asked_share_is_silent_at_any_time(
    count: int, share: float, for_s: float, at_s: float
) -> None:
    rotation = Rotation(count=count, share=share, for_s=for_s, seed=1)
    until = [rotation.silent_until(index, at_s) for index in range(count)]
    silent = [one for one in until if one is not None]
    assert abs(len(silent) - share * count) <= 1
    assert all(at_s <= one <= at_s + for_s + 1e-6 for one in silent)


def test_nobody_is_silent_when_the_share_is_nought() -> None:
    rotation = Rotation(count=5, share=0, for_s=60, seed=1)
    assert all(rotation.silent_until(i, t) is None for i in range(5) for t in range(600))


def test_what_a_phone_says_is_valid_all_its_life() -> None:
    [phone] = phones(1)
    said = [
        heartbeat_decode(
            phone.heartbeat(at_s=turn * 10.0, time=NOON + timedelta(seconds=turn * 10)),
            received_at=NOON + timedelta(hours=20),
        )
        for turn in range(5000)
    ]
    named: list[Any] = [dict(zip(NAMES, one.named, strict=True)) for one in said]
    batteries = [one["battery_pct"] for one in named]
    assert min(batteries) < 35 and max(batteries) == 100
    assert {one.vitals["charging"] for one in said} == {True, False}
    assert len({one["rssi_dbm"] for one in named}) > 10
    uptimes = [one["uptime_s"] for one in named]
    assert uptimes[-1] - uptimes[0] == 4999 * 10
