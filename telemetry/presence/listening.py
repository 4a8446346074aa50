"""When nobody listened: servers that take messages note in Valkey that they do.

    presence:listening    `at`: when a server last said so. `since`: from when on it was said
                          without a break. `before`: when it was last said before that break, if
                          there was one

All in ms from 1970, by Valkey's clock. What a device says while no server listens cannot be heard,
so it must not count as silence (decision 4).
"""

import logging
import threading
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from devices import valkey

log = logging.getLogger(__name__)

KEY = "presence:listening"
NOTE_EVERY_S = 1.0
# Nothing noted for so long is a break, as is a restart of the only server. Breaks that are no
# further apart than the second figure are one: a server that starts again and again is not heard.
BREAK_MS, TOGETHER_MS = 3_000, 60_000
NOTE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at, since, before = unpack(redis.call('HMGET', KEYS[1], 'at', 'since', 'before'))
if not at then
    redis.call('HSET', KEYS[1], 'since', now)
elseif now - at > tonumber(ARGV[1]) then
    if not before or now - since > tonumber(ARGV[2]) then before = at end
    redis.call('HSET', KEYS[1], 'since', now, 'before', before)
end
redis.call('HSET', KEYS[1], 'at', now)
"""
# A server that has not said so for a while does not listen.
SERVER_GONE_AFTER = timedelta(seconds=10)


class Unheard(NamedTuple):
    """Time in which nothing could be heard of any device."""

    since: datetime
    until: datetime


class Listening(NamedTuple):
    """When a server last said that it listens, and the latest time in which none did."""

    at: datetime
    break_before: Unheard | None


def listening() -> Listening | None:
    """None if no server has ever said that it listens. Raises RedisError while Valkey is away."""
    answer: Any = valkey.connection().hmget(KEY, "at", "since", "before")
    at, since, before = (ms and _time(ms) for ms in answer)
    if not at:
        return None
    return Listening(at, Unheard(before, since) if before else None)


def deaf_since(ts: datetime) -> datetime | None:
    """Since when no server listens, None if one does or if none ever did: the portal takes messages
    too. Raises RedisError while Valkey is away."""
    door = listening()
    return door.at if door and ts - door.at > SERVER_GONE_AFTER else None


def listening_note() -> None:
    """Raises RedisError while Valkey is away, when nothing can be accepted either."""
    valkey.connection().eval(NOTE, 1, KEY, BREAK_MS, TOGETHER_MS)


def listening_keep_noted() -> None:
    """From now on, for as long as this process lives."""
    threading.Thread(target=_keep_noted, name="listening", daemon=True).start()


def _keep_noted() -> None:
    was_noted = True
    while True:
        try:
            listening_note()
            was_noted = True
        except RedisError as error:
            if was_noted:
                log.warning("Valkey is not told that this server listens: %s", error)
            was_noted = False
        sleep(NOTE_EVERY_S)


def _time(ms: bytes) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
