"""When no server listened: servers that accept messages record in Valkey that they are listening.

    presence:listening    `at`: the latest record. `since`: the first record after the last break.
                          `before`: the last record before that break, if there was one

All times are in ms since 1970, by Valkey's clock. Messages that a device sends while no server
listens are lost, so that time must not count as silence (decision 4).
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
# BREAK_MS without a record counts as a break, for example when the only server restarts. Breaks at
# most TOGETHER_MS apart count as one: a server that keeps restarting hears nothing in between.
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
# After this long without a record, no server is listening.
SERVER_GONE_AFTER = timedelta(seconds=10)


class Unheard(NamedTuple):
    """A period in which no server listened to devices."""

    since: datetime
    until: datetime


class Listening(NamedTuple):
    """When a server last recorded that it is listening, and the latest break before that."""

    at: datetime
    break_before: Unheard | None


def listening() -> Listening | None:
    """None if no server has ever listened. Raises RedisError if Valkey is unavailable."""
    answer: Any = valkey.connection().hmget(KEY, "at", "since", "before")
    at, since, before = (ms and _time(ms) for ms in answer)
    if not at:
        return None
    return Listening(at, Unheard(before, since) if before else None)


def deaf_since(ts: datetime) -> datetime | None:
    """The time since which no server has been listening. None if one is listening, or if none ever
    did: the portal accepts messages too. Raises RedisError if Valkey is unavailable."""
    door = listening()
    return door.at if door and ts - door.at > SERVER_GONE_AFTER else None


def listening_note() -> None:
    """Records that this server is listening. Raises RedisError if Valkey is unavailable; in that
    case nothing can be accepted either."""
    valkey.connection().eval(NOTE, 1, KEY, BREAK_MS, TOGETHER_MS)


def listening_keep_noted() -> None:
    """Keeps recording this in a thread that lives as long as the process."""
    threading.Thread(target=_keep_noted, name="listening", daemon=True).start()


def _keep_noted() -> None:
    was_noted = True
    while True:
        try:
            listening_note()
            was_noted = True
        except RedisError as error:
            if was_noted:
                log.warning("could not record in Valkey that this server is listening: %s", error)
            was_noted = False
        sleep(NOTE_EVERY_S)


def _time(ms: bytes) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
