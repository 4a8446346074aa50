"""What one reader of `/api/v1/live` has yet to be sent."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, NamedTuple

from channels.layers import get_channel_layer
from django.db import Error as DatabaseError
from django.utils import timezone
from redis.exceptions import RedisError

from monitoring.live.visitor import Visitor
from monitoring.live.watching import Marks, watching

log = logging.getLogger(__name__)

RECHECK_S = 15
RETRY_S = 1
SLOW_AFTER_S = 10


class Batch(NamedTuple):
    """The latest of devices that changed, and the id of the message that was heard last."""

    message_id: str
    devices: list[dict[str, Any]]


class Reader:
    """Hears the groups of a visitor, and keeps the latest of each device that changed until it is
    taken: however slow the reader is, that is no more than the visitor has devices.

    It is over when the visitor may not listen any more. `too_slow` is called when something waited
    for SLOW_AFTER_S and nothing was taken.
    """

    def __init__(self, visitor: Visitor, *, too_slow: Any) -> None:
        self._visitor = visitor
        self._too_slow = too_slow
        layer = get_channel_layer()
        assert layer is not None, "CHANNEL_LAYERS stands in settings"
        self._layer = layer
        self._channel = ""
        self._joined: set[str] = set()
        self._devices: dict[int, dict[str, Any]] = {}
        self._message_id = ""
        self._moved_at = 0.0
        self._is_over = False
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> Marks:
        """From now on nothing is missed. Raises RedisError if Valkey does not answer."""
        self._channel = await self._layer.new_channel()
        self._tasks.append(asyncio.create_task(self._hear()))
        marks = await self._join()
        self._tasks.append(asyncio.create_task(self._recheck()))
        self.moved()
        return marks

    async def close(self) -> None:
        # Ends the channel too: the layer drops one whose receiver is cancelled.
        for task in self._tasks:
            task.cancel()
        with suppress(RedisError, OSError):  # what is not heard need not be left
            await self._leave(self._joined)

    def moved(self) -> None:
        """The reader took what it was sent."""
        self._moved_at = asyncio.get_running_loop().time()

    async def next(self, timeout_s: float) -> Batch | None:
        """What has changed since the last time, as soon as there is something; a batch without
        devices if there was nothing for so long; None when it is over."""
        self.moved()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        if self._is_over:
            return None
        self._news.clear()
        devices, self._devices = self._devices, {}
        self.moved()
        return Batch(self._message_id, list(devices.values()))

    async def _hear(self) -> None:
        while True:
            message = await self._layer.receive(self._channel)
            if self._devices and asyncio.get_running_loop().time() - self._moved_at > SLOW_AFTER_S:
                self._too_slow()
                return
            for one in message["devices"]:
                self._devices[one["id"]] = one
            self._message_id = max(self._message_id, message["id"])
            self._news.set()

    async def _recheck(self) -> None:
        while not self._is_over:
            expires_in_s = self._visitor.expires_in_s(timezone.now())
            await asyncio.sleep(min(RECHECK_S, max(0, expires_in_s)))
            try:
                await self._join()
            except (RedisError, OSError, DatabaseError) as error:
                log.warning("what a reader may hear is asked again soon: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _join(self) -> Marks:
        """Joins and leaves groups as the visitor's access now is; over if there is none."""
        groups = await self._visitor.groups()
        if not groups:
            self._is_over = True
            self._news.set()
        new = groups - self._joined
        for group in new:
            await self._layer.group_add(group, self._channel)
        marks = await watching().begin(new)
        self._joined |= new
        await self._leave(self._joined - groups)
        return marks

    async def _leave(self, groups: set[str]) -> None:
        self._joined = self._joined - groups
        watching().end(groups)
        for group in groups:
            await self._layer.group_discard(group, self._channel)
