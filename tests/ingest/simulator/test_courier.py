import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from ingest.simulator.fleet import fleet_run
from ingest.simulator.habits import Habits
from ingest.simulator.tally import UNREACHABLE, Tally
from scripts.services.ports import port_choose
from tests.ingest.simulator.door import (
    STEADY,
    Door,
    _bodies_sent_twice,
    _times,
    _until,
    live,
    phones,
)
from tests.waits import LIMIT_S


@pytest.mark.parametrize(
    ("status", "asked"), [(503, {}), (429, {}), (500, {}), (503, {"Retry-After": "2"})]
)
def test_a_message_is_sent_again_as_it_is_when_it_was_not_taken(
    status: int, asked: dict[str, str]
) -> None:
    async def scenario() -> tuple[Door, Tally]:
        async with Door([(status, asked)]) as door:
            return door, await live(door.url, STEADY, lambda _: bool(_bodies_sent_twice(door)))

    door, tally = asyncio.run(scenario())
    [body] = _bodies_sent_twice(door)
    first, second = (when for when, _, sent in door.posts if sent == body)
    assert second - first >= float(asked.get("Retry-After", 1))
    assert (tally.retried, tally.answers[status]) == (1, 1)


def test_a_message_arrives_later_when_the_connection_is_refused_at_first() -> None:
    async def scenario() -> Tally:
        async with AsyncExitStack() as stack:
            door, tally, stop = Door(port=port_choose()), Tally(), asyncio.Event()
            await stack.enter_async_context(asyncio.timeout(LIMIT_S))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            tasks.create_task(
                fleet_run(phones=phones(1), url=door.url, habits=STEADY, tally=tally, stop=stop)
            )
            await _until(lambda: tally.retried > 0)
            await stack.enter_async_context(door)
            await _until(lambda: _times(door) != sorted(_times(door)))
            stop.set()
            return tally

    tally = asyncio.run(scenario())
    assert tally.answers[UNREACHABLE] == tally.retried
    assert tally.given_up == 0


def test_a_message_is_given_up_when_it_was_sent_often_enough() -> None:
    habits = Habits(interval_s=0.2, silent_share=0, duplicate_share=0, retries=0)
    url = f"http://127.0.0.1:{port_choose()}"
    tally = asyncio.run(live(url, habits, lambda tally: tally.given_up >= 3))
    assert tally.retried == tally.accepted == 0
    assert tally.answers[UNREACHABLE] == tally.given_up


def test_a_message_is_not_sent_again_when_it_was_refused_for_good() -> None:
    async def scenario() -> tuple[Door, Tally]:
        async with Door([(401, {})] * 3) as door:
            return door, await live(door.url, STEADY, lambda tally: tally.accepted >= 2)

    door, tally = asyncio.run(scenario())
    assert tally.answers[401] == 3
    assert tally.retried == 0 and not _bodies_sent_twice(door)


def test_messages_are_sent_twice_when_duplicates_are_asked_for() -> None:
    async def scenario() -> Door:
        habits = Habits(interval_s=0.3, silent_share=0, duplicate_share=1)
        async with Door() as door:
            await live(door.url, habits, lambda _: len(_bodies_sent_twice(door)) >= 3, count=3)
            return door

    assert max(Counter(body for _, _, body in asyncio.run(scenario()).posts).values()) == 2
