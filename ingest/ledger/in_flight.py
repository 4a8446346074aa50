"""A shard's stream as the ledger sees it: what it has accepted, and what is still in flight."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ingest.stream import shards
from ingest.stream.entries import Entry, decode

# Reads both in one step, because an append changes both in one step. Nothing is in flight in a
# stream that is empty, whatever the counts say: then Valkey has lost it.
COUNTS = """
local waiting = redis.call('HGETALL', KEYS[1])
if redis.call('XLEN', KEYS[3]) + redis.call('XLEN', KEYS[4]) == 0 then waiting = {} end
return {waiting, redis.call('HGETALL', KEYS[2])}
"""
READ_AT_ONCE = 500


class ShardCounts(NamedTuple):
    """Messages in a shard at one moment: accepted by (tenant, minute), for minutes that it still
    counts, and in flight by tenant."""

    accepted: dict[tuple[int, int], int]
    in_flight: dict[int, int]


def counts_read(shard: int) -> ShardCounts:
    """Messages that are stored but not yet taken out of the stream count as in flight here."""
    counts = (shards.waiting_key(shard), shards.accepted_key(shard))
    keys = (*counts, shards.stream_key(shard), shards.unreadable_key(shard))
    waiting, accepted = map(_pairs, shards.run_script(COUNTS, keys))
    in_flight = {int(name[1:]): count for name, count in waiting.items() if name.startswith("t")}
    return ShardCounts(
        {
            (int(tenant), int(minute)): count
            for name, count in accepted.items()
            for tenant, minute in [name.split(":")]
        },
        in_flight,
    )


def stored_and_left(shard: int, *, position: str) -> Counter[int]:
    """Messages, by tenant, of entries up to `position` that are still in the stream: a drain stored
    them, but died before it took them out. Call it while no drain runs."""
    left: Counter[int] = Counter()
    if position != "0-0":
        for entry in _entries(shard, position):
            left[entry.tenant_id] += entry.count
    return left


def _entries(shard: int, until: str) -> Iterator[Entry]:
    after = "-"
    while True:
        rows: Any = shards.connection().xrange(
            shards.stream_key(shard), min=after, max=until, count=READ_AT_ONCE
        )
        for _, fields in rows:
            try:
                yield decode(fields[shards.FIELD])
            except msgspec.DecodeError:
                continue
        if len(rows) < READ_AT_ONCE:
            return
        after = f"({rows[-1][0].decode()}"


def _pairs(answer: list[bytes]) -> dict[str, int]:
    names = (name.decode() for name in answer[::2])
    return dict(zip(names, map(int, answer[1::2]), strict=True))
