"""Which groups are watched, so that no message is made for nobody.

For each watched group Valkey keeps a mark with the time it expires, and since when the group has
been watched without a gap. Listeners renew their marks. A mark outlives its last listener for a
while, so that a client that reconnects in that time misses nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from devices.valkey import async_connection

log = logging.getLogger(__name__)

WATCHED, SINCE = "live:watched", "live:since"
MARK_LIFE_S = 75
RENEW_S = 5

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
MARK = f"""
{NOW}
local answer = {{now}}
for i = 2, #ARGV do
    local runs_out = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if not runs_out or tonumber(runs_out) <= now then
        redis.call('HSET', KEYS[2], ARGV[i], string.format('%d', now))
    end
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i])
    answer[i] = tonumber(redis.call('HGET', KEYS[2], ARGV[i]))
end
return answer
"""
MARKED = f"""
{NOW}
for _, group in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
    redis.call('ZREM', KEYS[1], group)
    redis.call('HDEL', KEYS[2], group)
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


class Marks(NamedTuple):
    """Valkey's time, and since when each group has been watched without a gap; both in ms."""

    now_ms: int
    since_ms: Mapping[str, int]


class Watching:
    """Keeps the groups marked that this event loop's listeners hear."""

    def __init__(self) -> None:
        self._listeners: Counter[str] = Counter()
        self._renewing: asyncio.Task[None] | None = None

    async def begin(self, groups: Collection[str]) -> Marks:
        """Adds a listener to these groups; from then on, messages are built for them."""
        marks = await _mark(groups)
        self._listeners.update(groups)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return marks

    def end(self, groups: Collection[str]) -> None:
        """Removes a listener of these groups."""
        self._listeners.subtract(groups)
        self._listeners += Counter()  # drops groups at 0

    async def _renew(self) -> None:
        while self._listeners:
            await asyncio.sleep(RENEW_S)
            try:
                await _mark(set(self._listeners))
            except (RedisError, OSError) as error:
                log.warning("could not renew the watched groups, trying again: %s", error)


def watching() -> Watching:
    """The Watching of the running event loop."""
    return _watching.setdefault(asyncio.get_running_loop(), Watching())


async def groups_watched() -> set[str]:
    """The groups that somebody watches now."""
    found = await cast(Any, async_connection().eval(MARKED, 2, WATCHED, SINCE))
    return {group.decode() for group in found}


async def _mark(groups: Collection[str]) -> Marks:
    names = sorted(groups)
    life_ms = str(MARK_LIFE_S * 1000)
    answer = await cast(Any, async_connection().eval(MARK, 2, WATCHED, SINCE, life_ms, *names))
    return Marks(answer[0], dict(zip(names, answer[1:], strict=True)))


_watching: WeakKeyDictionary[asyncio.AbstractEventLoop, Watching] = WeakKeyDictionary()
