"""Runs a fleet: each phone sends at its own times."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from ingest.simulator.courier import Courier, Message, session_open
from ingest.simulator.habits import Habits
from ingest.simulator.phone import Phone, Rotation
from ingest.simulator.tally import Tally

DUPLICATE_WITHIN_S = 2.0


async def fleet_run(
    *, phones: Sequence[Phone], url: str, habits: Habits, tally: Tally, stop: asyncio.Event
) -> None:
    """Runs the phones until `stop` is set.

    Messages already being sent are still sent; messages waiting for a retry are dropped.
    """
    async with session_open() as session, asyncio.TaskGroup() as tasks:
        courier = Courier(
            url=url, habits=habits, tally=tally, session=session, tasks=tasks, stop=stop
        )
        Fleet(phones=phones, habits=habits, courier=courier).start()
        await stop.wait()


class Fleet:
    """Each phone has one timer in the event loop; nothing runs between two heartbeats."""

    def __init__(self, *, phones: Sequence[Phone], habits: Habits, courier: Courier) -> None:
        self._phones = phones
        self._habits = habits
        self._courier = courier
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._rotation = Rotation(
            count=len(phones),
            share=habits.silent_share,
            for_s=habits.silent_for_s,
            seed=habits.seed,
        )

    def start(self) -> None:
        for index, phone in enumerate(self._phones):
            self._set_turn(phone.random.uniform(0, self._habits.interval_s), index)

    def _set_turn(self, at_s: float, index: int) -> None:
        self._loop.call_at(self._began + at_s, self._turn, at_s, index)

    def _turn(self, at_s: float, index: int) -> None:
        """Lets a phone send unless it is silent now, and schedules its next turn."""
        if self._courier.stop.is_set():
            return
        phone, habits = self._phones[index], self._habits
        back_s = self._rotation.silent_until(index, at_s)
        if back_s is None:
            self._speak(phone, at_s)
            nominal_s = at_s + habits.interval_s
        else:
            nominal_s = back_s
        nominal_s += phone.random.uniform(0, habits.jitter * habits.interval_s)
        # Turns missed while the machine slept are not made up for.
        self._set_turn(max(nominal_s, self._loop.time() - self._began), index)

    def _speak(self, phone: Phone, at_s: float) -> None:
        body = phone.heartbeat(at_s=at_s, time=datetime.now(UTC))
        message = Message(phone.token, body)
        self._courier.post(message)
        if phone.random.random() < self._habits.duplicate_share:
            after_s = phone.random.uniform(0, DUPLICATE_WITHIN_S)
            self._courier.post_duplicate(message, after_s=after_s)
