"""Unknown keys that were tried: the most frequent ones, for operators. They belong to no tenant.

    ingest:{refused0}:unknown         sorted by tries: the public part of each key
    ingest:{refused0}:unknown-about   for each: the times of the first and the last try, how many
                                      of the tries may be others', and the last address

Only MOST_KEYS are kept, by the algorithm "space-saving" (Metwally and others, 2005): a new key
takes the place of the least frequent one, and its tries. So the most frequent keys are always
there, and memory is bounded whatever is tried.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ingest.door.refusal_counts import refused_key
from ingest.stream import shards

MOST_KEYS = 1_000
FORGET_AFTER = timedelta(days=7)
# Stands for keys beyond those that one process counts.
OTHERS = "others"
OURS = re.compile(r"(r[ct]_[A-Za-z0-9]{1,12})_", re.ASCII)
SHOWN = 4

# KEYS: unknown, unknown-about. ARGV: for each key its public part, tries, and address.
TRIED = f"""
local now = redis.call('TIME')
local at = string.format('%.0f', now[1] * 1000000 + now[2])
for n = 1, #ARGV, 3 do
    local key, tries, first, over = ARGV[n], tonumber(ARGV[n + 1]), at, '0'
    local about = redis.call('HGET', KEYS[2], key)
    if about then
        first, over = string.match(about, '^(%d+) %d+ (%d+)')
    elseif redis.call('ZCARD', KEYS[1]) >= {MOST_KEYS} then
        local least = redis.call('ZPOPMIN', KEYS[1])
        redis.call('HDEL', KEYS[2], least[1])
        over = string.format('%.0f', least[2])
        tries = tries + least[2]
    end
    redis.call('ZINCRBY', KEYS[1], tries, key)
    redis.call('HSET', KEYS[2], key, first .. ' ' .. at .. ' ' .. over .. ' ' .. ARGV[n + 2])
end
"""
# Forgets keys that were last tried before ARGV[1].
PRUNE = """
local forgotten, about = 0, redis.call('HGETALL', KEYS[2])
for n = 1, #about, 2 do
    if tonumber(string.match(about[n + 1], '^%d+ (%d+)')) < tonumber(ARGV[1]) then
        redis.call('ZREM', KEYS[1], about[n])
        redis.call('HDEL', KEYS[2], about[n])
        forgotten = forgotten + 1
    end
end
return forgotten
"""


class Tries(NamedTuple):
    """How often a key was tried, and the address that tried it last."""

    tries: int
    address: str


class UnknownKey(NamedTuple):
    """An unknown key by its public part. It was tried at most `tries` times, and at least `tries` -
    `over` times."""

    shown: str
    tries: int
    over: int
    first_at: datetime
    last_at: datetime
    address: str

    @property
    def least(self) -> int:
        return self.tries - self.over


def shown_of(key: str) -> str:
    """The part of a key that may be shown: its public prefix or, if it is not one of ours, its
    first characters."""
    ours = OURS.match(key)
    start = f"{ours[1]}_" if ours else "".join(c for c in key[:SHOWN] if c.isprintable())
    return f"{start}…"


def unknown_keys_add(tried: Mapping[str, Tries]) -> None:
    """Adds to the counts. Raises RedisError."""
    arguments = [value for shown, tries in tried.items() for value in (shown, *tries)]
    shards.run_script(TRIED, _keys(), *arguments)


def unknown_keys() -> list[UnknownKey]:
    """The unknown keys that were tried most often, the most frequent first. Raises RedisError."""
    ranked, about = _keys()
    client: Any = shards.connection()
    told = client.hgetall(about)
    return [
        _unknown(shown.decode(), int(tries), told[shown].decode())
        for shown, tries in client.zrevrange(ranked, 0, -1, withscores=True)
        if shown in told
    ]


def unknown_keys_prune(*, ts: datetime) -> int:
    """Forgets keys that were not tried for FORGET_AFTER; returns how many. Raises RedisError."""
    before_us = round((ts - FORGET_AFTER).timestamp() * 1e6)
    return int(shards.run_script(PRUNE, _keys(), before_us))


def _keys() -> tuple[str, str]:
    return refused_key(0, "unknown"), refused_key(0, "unknown-about")


def _unknown(shown: str, tries: int, about: str) -> UnknownKey:
    first_us, last_us, over, address = about.split(" ", 3)
    first_at, last_at = (datetime.fromtimestamp(int(us) / 1e6, UTC) for us in (first_us, last_us))
    return UnknownKey(shown, tries, int(over), first_at, last_at, address)
