"""What a visitor hears, whichever way it is sent on: by `/ws/live` or by `/api/v1/live`."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from channels.layers import get_channel_layer
from django.db import Error as DatabaseError
from django.utils import timezone
from redis.exceptions import RedisError

from monitoring.live.visitor import Visitor
from monitoring.live.watching import Marks, watching
from telemetry.times import utc_text

log = logging.getLogger(__name__)

RECHECK_S = 15
RETRY_S = 1
SLOW_AFTER_S = 10
HEARD_WITHIN_S = 10


def live_message(kind: str, **content: Any) -> dict[str, Any]:
    """A message to whoever listens."""
    return {"type": kind, "server_time": utc_text(timezone.now()), **content}


class Batch(NamedTuple):
    """The latest of devices that changed, and the id of the message that was heard last."""

    message_id: str
    devices: list[dict[str, Any]]


class Listener:
    """Hears the groups of a visitor, and keeps the latest of each device that changed until it is
    taken: however slow the reader is, that is no more than the visitor has devices.

    What the visitor may hear is asked again every RECHECK_S: a membership that ends, a person who
    is locked out or signs out, ends what is heard. It is over when that is nothing; `is_signed_in`
    then tells who belongs to no tenant from who is not signed in any more. `too_slow` is called
    when something waited for SLOW_AFTER_S and nothing was taken.
    """

    def __init__(self, visitor: Visitor, *, too_slow: Callable[[], object]) -> None:
        self.visitor = visitor
        self.is_over = False
        self.is_signed_in = True
        self._too_slow = too_slow
        layer = get_channel_layer()
        assert layer is not None, "CHANNEL_LAYERS stands in settings"
        self._layer = layer
        self._channel = ""
        self._joined: set[str] = set()
        self._joining = asyncio.Lock()
        self._is_heard = asyncio.Event()
        self._renewed = asyncio.Event()
        self._devices: dict[int, dict[str, Any]] = {}
        self._message_id = ""
        self._waiting_since = 0.0
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> Marks:
        """From now on nothing is missed. Raises RedisError, OSError and DatabaseError."""
        self._channel = await self._layer.new_channel()
        self._tasks.append(asyncio.create_task(self._hear()))
        marks = await self.join()
        # Comes back the way that the groups' messages come: they are really heard then.
        await self._layer.send(self._channel, {"type": "subscribed"})
        await asyncio.wait_for(self._is_heard.wait(), HEARD_WITHIN_S)
        self._tasks.append(asyncio.create_task(self._recheck()))
        return marks

    async def close(self) -> None:
        # Ends the channel too: the layer drops one whose receiver is cancelled.
        for task in self._tasks:
            task.cancel()
        with suppress(RedisError, OSError):  # what is not heard need not be left
            await self._leave(self._joined)

    def stay(self, visitor: Visitor) -> None:
        """The same person has shown a new token, which says for how long they may stay."""
        self.visitor = visitor
        self._renewed.set()

    def moved(self) -> None:
        """The reader took what it was sent."""
        self._waiting_since = asyncio.get_running_loop().time()

    async def next(self, timeout_s: float | None = None) -> Batch | None:
        """What has changed since the last time, as soon as there is something; a batch without
        devices if there was nothing for so long; None when it is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        if self.is_over:
            return None
        self._news.clear()
        devices, self._devices = self._devices, {}
        return Batch(self._message_id, list(devices.values()))

    async def join(self) -> Marks:
        """Joins and leaves groups as the visitor's access now is; over if there is none."""
        async with self._joining:  # a reader's wish and a recheck may come together
            groups = await self.visitor.groups()
            if not groups:
                self.is_signed_in = await self.visitor.is_signed_in()
                self.is_over = True
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

    async def _hear(self) -> None:
        while True:
            message = await self._layer.receive(self._channel)
            if message["type"] == "subscribed":
                self._is_heard.set()
                self.moved()
                continue
            if not self._devices:
                self.moved()
            elif asyncio.get_running_loop().time() - self._waiting_since > SLOW_AFTER_S:
                self._too_slow()
                return
            for one in message["devices"]:
                self._devices[one["id"]] = one
            self._message_id = max(self._message_id, message["id"])
            self._news.set()

    async def _recheck(self) -> None:
        while not self.is_over:
            expires_in_s = self.visitor.expires_in_s(timezone.now())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._renewed.wait(), min(RECHECK_S, max(0, expires_in_s)))
            self._renewed.clear()
            try:
                await self.join()
            except (RedisError, OSError, DatabaseError) as error:
                log.warning("what a reader may hear is asked again soon: %s", error)
                await asyncio.sleep(RETRY_S)
