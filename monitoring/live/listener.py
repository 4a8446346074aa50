"""What a visitor hears; `/ws/live` and `/api/v1/live` both pass it on."""

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
    """A message to a listener, with the server's time."""
    return {"type": kind, "server_time": utc_text(timezone.now()), **content}


class Batch(NamedTuple):
    """The latest status of each device that changed, and the id of the last message heard."""

    message_id: str
    devices: list[dict[str, Any]]


class Listener:
    """Hears the groups of a visitor, and keeps the latest status of each changed device until it
    is read. So even for a slow reader it never holds more than the visitor has devices.

    Every RECHECK_S it checks what the visitor may hear, because memberships end and people sign
    out or are locked out. `is_over` becomes True when the visitor may hear nothing; `is_signed_in`
    then says whether they belong to no tenant or are no longer signed in. `too_slow` is called
    when changes have waited unread for SLOW_AFTER_S.
    """

    def __init__(self, visitor: Visitor, *, too_slow: Callable[[], object]) -> None:
        self.visitor = visitor
        self.is_over = False
        self.is_signed_in = True
        self._too_slow = too_slow
        layer = get_channel_layer()
        assert layer is not None, "CHANNEL_LAYERS is set in the settings"
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
        """Joins the groups; from here on nothing is missed. Raises RedisError, OSError and
        DatabaseError."""
        self._channel = await self._layer.new_channel()
        self._tasks.append(asyncio.create_task(self._hear()))
        marks = await self.join()
        # It arrives the way that the groups' messages do, which proves that those arrive too.
        await self._layer.send(self._channel, {"type": "subscribed"})
        await asyncio.wait_for(self._is_heard.wait(), HEARD_WITHIN_S)
        self._tasks.append(asyncio.create_task(self._recheck()))
        return marks

    async def close(self) -> None:
        # This ends the channel too: the layer drops a channel whose receiver is cancelled.
        for task in self._tasks:
            task.cancel()
        with suppress(RedisError, OSError):  # without Valkey there is no group to leave
            await self._leave(self._joined)

    def stay(self, visitor: Visitor) -> None:
        """Lets the same person stay until their new token expires."""
        self.visitor = visitor
        self._renewed.set()

    def moved(self) -> None:
        """Records that the reader has read what it was sent."""
        self._waiting_since = asyncio.get_running_loop().time()

    async def next(self, timeout_s: float | None = None) -> Batch | None:
        """What has changed since the last call, as soon as something has; an empty batch if
        nothing changes within `timeout_s`; None when the listener is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        if self.is_over:
            return None
        self._news.clear()
        devices, self._devices = self._devices, {}
        return Batch(self._message_id, list(devices.values()))

    async def join(self) -> Marks:
        """Joins and leaves groups to match the visitor's access; over if they have none."""
        async with self._joining:  # a `watch` and a recheck may coincide
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
                log.warning("could not find out what a listener may hear, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
