"""The stream between the door and the writer, in shards: Valkey streams read by consumer groups.

An entry is one accepted request. It stays until the transaction that stored it has committed.
All keys of a shard have one hash tag, so that shards live on any node of a Valkey Cluster:

    ingest:{n}            the stream
    ingest:{n}:identity   a random name of this stream, for as long as its data lives
    ingest:{n}:waiting    "bytes", "messages" and "t<tenant>" (messages): what stands in the stream
    ingest:{n}:accepted   "<tenant>:<minute>" (messages): what was ever appended, until the ledger
                          in the database has it; a minute is counted from 1970
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from random import randrange
from typing import Any, NamedTuple

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from ingest.entries import Entry, encode

GROUP = "drain"
CONSUMER = "drain"
FIELD = b"d"

# Appends and counts as one: what is in the stream is in the ledger, and nothing else is.
APPEND = """
local waiting = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '0')
if waiting >= tonumber(ARGV[1]) then return false end
for n = 2, #ARGV, 4 do
    local data, messages, tenant, minute = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]
    redis.call('HINCRBY', KEYS[2], 'bytes', #data)
    redis.call('HINCRBY', KEYS[2], 'messages', messages)
    redis.call('HINCRBY', KEYS[2], 't' .. tenant, messages)
    redis.call('HINCRBY', KEYS[3], tenant .. ':' .. minute, messages)
    redis.call('XADD', KEYS[1], '*', 'd', data)
end
return #ARGV
"""

# Takes entries out as one; those that are out already count for nothing.
FINISH = """
for n = 2, #ARGV, 4 do
    if redis.call('XDEL', KEYS[1], ARGV[n]) == 1 then
        redis.call('HINCRBY', KEYS[2], 'bytes', -ARGV[n + 1])
        redis.call('HINCRBY', KEYS[2], 'messages', -ARGV[n + 2])
        redis.call('HINCRBY', KEYS[2], 't' .. ARGV[n + 3], -ARGV[n + 2])
    end
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[n])
end
"""
# Lua's stack holds the arguments of one call.
FINISH_AT_ONCE = 1000


APPEND_SHA = hashlib.sha1(APPEND.encode()).hexdigest()


class StreamAway(Exception):
    """The stream cannot take an entry just now; nothing was accepted."""


class StreamFull(StreamAway):
    """As many bytes wait as may wait; nothing was accepted."""


class Waiting(NamedTuple):
    """An entry that is not stored yet."""

    entry_id: bytes
    data: bytes


class Finished(NamedTuple):
    """An entry that is stored, with what it counted for."""

    entry_id: bytes
    size: int
    messages: int
    tenant_id: int


def shards() -> range:
    return range(settings.INGEST_SHARDS)


@cache
def connection() -> redis.Redis:
    """The process's connections to the stream. A call that fails is not tried again here: the
    device or the drain tries again, knowing what it may repeat."""
    return redis.Redis.from_url(
        settings.INGEST_STREAM_URL,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


def stream_key(shard: int) -> str:
    return f"ingest:{{{shard}}}"


def waiting_key(shard: int) -> str:
    return f"ingest:{{{shard}}}:waiting"


def accepted_key(shard: int) -> str:
    return f"ingest:{{{shard}}}:accepted"


@lru_cache(maxsize=1000)  # the readings of a request share their time
def minute_of(ts: datetime) -> int:
    return int(ts.timestamp()) // 60


def append(*entries: Entry) -> None:
    """Appends accepted requests; once this returns, they are on Valkey's disk.

    Raises StreamAway if Valkey is away, out of memory or starting, StreamFull at the mark; then
    none was accepted.
    """
    shard = randrange(settings.INGEST_SHARDS)
    keys = (stream_key(shard), waiting_key(shard), accepted_key(shard))
    try:
        appended = _append((*keys, settings.INGEST_SHARD_MAX_BYTES, *_arguments(entries)))
    except RedisError as error:
        raise StreamAway(str(error)) from error
    if appended is None:
        raise StreamFull(f"shard {shard} is at its mark")


def _append(arguments: Sequence[Any]) -> Any:
    """Runs APPEND on a connection of the pool, without the layers of the client above it: they
    take longer than everything else that an append does in this process."""
    pool = connection().connection_pool
    link: Any = pool.get_connection()
    try:
        try:
            link.send_command("EVALSHA", APPEND_SHA, 3, *arguments)
            return link.read_response()
        except NoScriptError:
            link.send_command("EVAL", APPEND, 3, *arguments)
            return link.read_response()
    finally:
        pool.release(link)


def identity_ensure(shard: int) -> str:
    """Makes the shard's stream and group if they are not there; returns the stream's identity.

    Entry ids only ever grow in one stream. Another identity means another stream, in which they
    may begin anywhere.
    """
    client = connection()
    client.set(f"{stream_key(shard)}:identity", secrets.token_hex(16), nx=True)
    try:
        client.xgroup_create(stream_key(shard), GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    identity: Any = client.get(f"{stream_key(shard)}:identity")
    return str(identity.decode())


def identity_renew(shard: int) -> str:
    """Another identity for the shard's stream, which is not what it was."""
    identity = secrets.token_hex(16)
    connection().set(f"{stream_key(shard)}:identity", identity)
    return identity


def last_id(shard: int) -> bytes:
    """The id of the newest entry that the stream ever had."""
    information: Any = connection().xinfo_stream(stream_key(shard))
    last: bytes = information["last-generated-id"]
    return last


def read_left(shard: int, *, after: bytes, count: int) -> list[Waiting]:
    """Entries that a drain was given and did not finish, from `after` on."""
    answer = connection().xreadgroup(GROUP, CONSUMER, {stream_key(shard): after}, count=count)
    return _waiting(answer)


def read_new(shard: int, *, count: int, block_ms: int | None) -> list[Waiting]:
    """Entries that no drain had yet; waits for the first one up to `block_ms`."""
    answer = connection().xreadgroup(
        GROUP, CONSUMER, {stream_key(shard): ">"}, count=count, block=block_ms
    )
    return _waiting(answer)


def finish(shard: int, finished: Sequence[Finished]) -> None:
    """Takes stored entries out of the stream."""
    keys = (stream_key(shard), waiting_key(shard))
    for start in range(0, len(finished), FINISH_AT_ONCE):
        arguments = [value for one in finished[start : start + FINISH_AT_ONCE] for value in one]
        _finish_script()(keys, (GROUP, *arguments))


def set_aside(shard: int, entry: Waiting) -> None:
    """Moves an entry that cannot be read where nobody reads; it goes on counting as in flight."""
    with connection().pipeline(transaction=True) as pipeline:
        pipeline.xadd(f"{stream_key(shard)}:unreadable", {FIELD: entry.data})
        pipeline.xack(stream_key(shard), GROUP, entry.entry_id)
        pipeline.xdel(stream_key(shard), entry.entry_id)
        pipeline.execute()


def waiting_counts(shard: int) -> dict[str, int]:
    """What stands in the stream: `bytes`, `messages`, and messages as `t<tenant>`."""
    return _counts(connection().hgetall(waiting_key(shard)))


def accepted_counts(shard: int) -> dict[tuple[int, int], int]:
    """Messages accepted, by (tenant, minute), as far as the shard still counts them."""
    return {
        (int(tenant), int(minute)): count
        for name, count in _counts(connection().hgetall(accepted_key(shard))).items()
        for tenant, minute in [name.split(":")]
    }


def accepted_forget(shard: int, counted: Sequence[tuple[int, int]]) -> None:
    """Drops counts of minutes that are over and in the ledger."""
    if counted:
        names = [f"{tenant}:{minute}" for tenant, minute in counted]
        connection().hdel(accepted_key(shard), *names)


def turn_take(shard: int, turn: str | None) -> str | None:
    """The turn of a drain that begins, which its successor will bring along as `turn`.

    None for a successor whose turn was taken by another: each shard has one line of drains.
    """
    key = f"{stream_key(shard)}:turn"
    current: Any = connection().get(key)
    if turn is not None and (current is None or current.decode() != turn):
        return None
    taken = secrets.token_hex(8)
    connection().set(key, taken)
    return taken


def oldest_waiting_at() -> datetime | None:
    """When the oldest entry that is not stored yet was accepted; None if none waits."""
    ids = [entry_id for shard in shards() if (entry_id := _first_id(shard))]
    if not ids:
        return None
    milliseconds = min(int(entry_id.split(b"-")[0]) for entry_id in ids)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _first_id(shard: int) -> bytes | None:
    entries: Any = connection().xrange(stream_key(shard), count=1)
    return entries[0][0] if entries else None


def _arguments(entries: Sequence[Entry]) -> Iterator[bytes | int]:
    for entry in entries:
        yield from (encode(entry), entry.count, entry.tenant_id, minute_of(entry.received_at))


@cache
def _finish_script() -> Any:
    return connection().register_script(FINISH)


def _counts(answer: Any) -> dict[str, int]:
    fields: Mapping[bytes, bytes] = answer
    return {name.decode(): int(count) for name, count in fields.items()}


def _waiting(answer: Any) -> list[Waiting]:
    entries = answer[0][1] if answer else []
    return [Waiting(entry_id, fields[FIELD]) for entry_id, fields in entries if fields]
