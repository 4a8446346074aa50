"""The simulated fleet against a small HTTP server, and against the whole stack."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from ingest.simulator.habits import Habits
from tests.ingest.simulator.door import NOON, STEADY, Diarist, Door, _silences, live, phones


def test_each_phone_posts_once_an_interval_when_the_door_is_open() -> None:
    async def scenario() -> Door:
        async with Door() as door:
            await live(door.url, STEADY, lambda tally: tally.accepted >= 40, count=8)
            return door

    posts = asyncio.run(scenario()).posts
    keys = Counter(key for _, key, _ in posts)
    assert set(keys) == {f"Bearer key-{n}" for n in range(1, 9)}
    assert max(keys.values()) - min(keys.values()) <= 2
    times = sorted(when for when, key, _ in posts if key == "Bearer key-1")
    assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(0.2, abs=0.05)


def test_a_phone_speaks_later_and_never_sooner_when_there_is_jitter() -> None:
    async def scenario() -> list[float]:
        phone = Diarist()
        habits = Habits(interval_s=0.05, jitter=0.5, silent_share=0.2, silent_for_s=0.2)
        async with Door() as door:
            await live(door.url, habits, lambda _: len(phone.spoke_s) >= 30, own=[phone])
        return phone.spoke_s

    gaps = [after - before for before, after in pairwise(asyncio.run(scenario()))]
    assert min(gaps) >= 0.05 - 1e-9
    assert len({round(gap, 3) for gap in gaps}) > 5


def test_phones_do_not_start_at_the_same_moment() -> None:
    async def scenario() -> Door:
        async with Door() as door:
            await live(door.url, STEADY, lambda tally: tally.accepted >= 20, count=20)
            return door

    times = [when for when, _, _ in asyncio.run(scenario()).posts]
    assert max(times) - min(times) > 0.1


def test_phones_fall_silent_and_return_when_a_share_is_asked_for() -> None:
    async def scenario() -> Door:
        habits = Habits(interval_s=0.05, jitter=0, silent_share=0.5, silent_for_s=0.5)
        async with Door() as door:
            await live(door.url, habits, lambda _: len(_silences(door)) >= 4, count=2)
            return door

    assert all(0.4 < gap < 0.9 for gap in _silences(asyncio.run(scenario())))


def test_a_fleet_is_the_same_when_its_seed_is_the_same() -> None:
    def words(seed: int) -> list[bytes]:
        return [
            phone.heartbeat(at_s=10.0 * turn, time=NOON)
            for turn in range(5)
            for phone in phones(3, seed)
        ]

    assert words(1) == words(1)
    assert words(1) != words(2)
