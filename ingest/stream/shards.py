"""The stream between the door and the drains, in shards: Valkey streams read by consumer groups.

An entry holds messages from one accepted request. It stays until the transaction that stored it has
committed. All keys of a shard have the same hash tag, so a shard can be on any node of a cluster:

    ingest:{n}            the stream
    ingest:{n}:identity   a random name of this stream, for as long as its data lives
    ingest:{n}:waiting    "bytes", "messages" and "t<tenant>" (messages): what is in the stream
    ingest:{n}:accepted   "<tenant>:<minute>" (messages): all that was appended, until the ledger in
                          the database has it; minutes since 1970
    ingest:{n}:unreadable  a stream of the entries that were set aside
    ingest:{n}:turn       which drain may run next (see turn_take)
"""

import hashlib
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from random import randrange, sample
from typing import Any, NamedTuple

from django.conf import settings
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from ingest.stream import nodes
from ingest.stream.entries import Entry, encode
from ingest.stream.group_commit import GroupCommit
from ingest.stream.nodes import connection as connection

log = logging.getLogger(__name__)

GROUP = "drain"
CONSUMER = "drain"
FIELD = b"d"

# Appends and counts in one step, so that the ledger counts exactly what is in the stream.
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

# Takes entries out and corrects the counts in one step; ignores entries already taken out. If the
# stream is empty and the counts are not 0, one of these keys was lost, and the counts begin anew:
# otherwise lost messages would count as in flight, and as bytes, for ever.
FINISH = """
for n = 2, #ARGV, 4 do
    if redis.call('XDEL', KEYS[1], ARGV[n]) == 1 then
        redis.call('HINCRBY', KEYS[2], 'bytes', -ARGV[n + 1])
        redis.call('HINCRBY', KEYS[2], 'messages', -ARGV[n + 2])
        redis.call('HINCRBY', KEYS[2], 't' .. ARGV[n + 3], -ARGV[n + 2])
    end
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[n])
end
if redis.call('XLEN', KEYS[1]) + redis.call('XLEN', KEYS[3]) == 0
        and redis.call('HGET', KEYS[2], 'messages') ~= '0' then
    redis.call('DEL', KEYS[2])
end
"""
# The arguments of one call must fit on Lua's stack.
FINISH_AT_ONCE = 1000

# Moves an entry to a stream that no drain reads.
SET_ASIDE = """
redis.call('XADD', KEYS[2], '*', 'd', ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
"""

# How much a shard holds: waiting entries, and counts.
HELD = "return redis.call('XLEN', KEYS[1]) + redis.call('HLEN', KEYS[2])"

APPEND_SHA = hashlib.sha1(APPEND.encode()).hexdigest()
# How many shards are asked to take an entry. The whole entry is sent to each.
MOST_SHARDS_ASKED = 3
# Appends that arrive while others are being sent to a shard are sent together, up to this size.
MAX_BYTES_TOGETHER = 1024**2


class StreamAway(Exception):
    """The stream cannot take an entry right now; nothing was acknowledged."""


class ShardAway(StreamAway):
    """A shard has definitely not taken an entry, so a different one may be tried."""


class StreamFull(ShardAway):
    """The shard is full; nothing was accepted."""


class Waiting(NamedTuple):
    """An entry that is not stored yet."""

    entry_id: bytes
    data: bytes


class Finished(NamedTuple):
    """An entry that is stored, with its share of the shard's counts."""

    entry_id: bytes
    size: int
    messages: int
    tenant_id: int


class Survey(NamedTuple):
    """The time at which the oldest waiting entry was accepted, None if there is none; and the
    unavailable shards, whose entries are not covered."""

    oldest_waiting_at: datetime | None
    away: list[int]


def held_beyond() -> list[int]:
    """The shards beyond INGEST_SHARDS that still hold messages or counts: the setting was lowered,
    or is higher at a door. Shards whose node is unavailable are left out.

    Raises RedisError if no node of a cluster answers.
    """
    beyond = range(settings.INGEST_SHARDS, settings.INGEST_MOST_SHARDS)
    keys = {shard: (stream_key(shard), accepted_key(shard)) for shard in beyond}
    answers = nodes.run_on_all(HELD, keys)
    away = {shard: told for shard, told in answers.items() if isinstance(told, RedisError)}
    if away:
        names, errors = ", ".join(map(str, sorted(away))), set(map(str, away.values()))
        log.warning("could not ask shards %s what they hold: %s", names, "; ".join(errors))
    return sorted(shard for shard, told in answers.items() if shard not in away and told)


def stream_key(shard: int) -> str:
    return f"ingest:{{{shard}}}"


def waiting_key(shard: int) -> str:
    return f"ingest:{{{shard}}}:waiting"


def accepted_key(shard: int) -> str:
    return f"ingest:{{{shard}}}:accepted"


def unreadable_key(shard: int) -> str:
    return f"ingest:{{{shard}}}:unreadable"


def minute_of(ts: datetime) -> int:
    return int(ts.timestamp()) // 60


def append(*entries: Entry) -> None:
    """Appends accepted requests; once this returns, they are on Valkey's disk.

    Picks a random shard, and a second one if the first has definitely not taken them: its node is
    unavailable, or it is full. Raises StreamAway if Valkey is unavailable, out of memory or
    starting, and StreamFull if the shards are full. If only the response was lost, the entries may
    have been appended, so sending them again may send duplicates.
    """
    arguments: list[bytes | int] = []
    for entry in entries:
        minute = minute_of(entry.received_at)
        arguments += (encode(entry), entry.count, entry.tenant_id, minute)
    refusal: StreamAway = StreamAway("there is no shard")
    for shard in _shards_to_ask():
        try:
            _appends(shard).append(arguments)
            return
        except ShardAway as error:
            refusal = error
    raise refusal


def _shards_to_ask() -> Iterator[int]:
    """MOST_SHARDS_ASKED random shards that are available; if none is, one that is not."""
    first = randrange(settings.INGEST_SHARDS)
    others = sample(range(settings.INGEST_SHARDS), settings.INGEST_SHARDS)
    asked = 0
    for shard in (first, *(n for n in others if n != first)):
        if not nodes.is_away(stream_key(shard)):
            yield shard
            asked += 1
        if asked == MOST_SHARDS_ASKED:
            return
    if not asked:
        yield first


@cache
def _appends(shard: int) -> GroupCommit:
    """This process's appends to a shard, over their own connection."""
    send = partial(_send, shard, nodes.Link())
    return GroupCommit(send, max_bytes=MAX_BYTES_TOGETHER)


def _send(shard: int, link: nodes.Link, values: Sequence[bytes | int]) -> None:
    """Raises ShardAway if the shard has definitely not taken the entries, StreamAway if it may
    have."""
    keys = (stream_key(shard), waiting_key(shard), accepted_key(shard))
    arguments = (*keys, settings.INGEST_SHARD_MAX_BYTES, *values)
    try:
        node = nodes.node_of(keys[0])
        try:
            ready = link.ready(node)
        except RedisError as error:  # nothing was sent
            nodes.node_missed(node)
            raise ShardAway(str(error)) from error
        try:
            appended = _send_append(ready, arguments)
        except AskError:  # the shard has moved, and the client finds out where to
            client: Any = connection()
            appended = client.eval(APPEND, len(keys), *arguments)
    except (ResponseError, BusyLoadingError) as error:
        raise ShardAway(str(error)) from error
    except RedisError as error:
        raise StreamAway(str(error)) from error
    if appended is None:
        raise StreamFull(f"shard {shard} is full")


def _send_append(link: Any, arguments: Sequence[Any]) -> Any:
    """Runs APPEND directly on a connection: the layers of the client above it take longer than
    everything else that an append does in this process."""
    try:
        link.send_command("EVALSHA", APPEND_SHA, 3, *arguments)
        return link.read_response()
    except NoScriptError:
        link.send_command("EVAL", APPEND, 3, *arguments)
        return link.read_response()


def run_script(script: str, keys: Sequence[str], *arguments: Any) -> Any:
    """Runs a script only on the node of its keys, which all belong to one shard. The library sends
    a registered script to every node, and one of them may be unavailable."""
    client: Any = connection()
    sha = hashlib.sha1(script.encode()).hexdigest()
    try:
        return client.evalsha(sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return client.eval(script, len(keys), *keys, *arguments)


def identity_ensure(shard: int) -> str:
    """Creates the shard's stream and group if they are missing; returns the stream's identity.

    Entry ids only grow within one stream. A new identity means a new stream, whose ids may start
    anywhere.
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
    """Gives the shard's stream a new identity, because it is no longer the same stream."""
    identity = secrets.token_hex(16)
    connection().set(f"{stream_key(shard)}:identity", identity)
    return identity


def last_id(shard: int) -> bytes:
    """The id of the newest entry that the stream ever had."""
    information: Any = connection().xinfo_stream(stream_key(shard))
    last: bytes = information["last-generated-id"]
    return last


def read_left(shard: int, *, after: bytes, count: int) -> list[Waiting]:
    """Entries that a drain read but did not finish, those after `after`."""
    answer = connection().xreadgroup(GROUP, CONSUMER, {stream_key(shard): after}, count=count)
    return _waiting(answer)


def read_new(shard: int, *, count: int, block_ms: int | None) -> list[Waiting]:
    """Entries that no drain has read yet; waits for the first one up to `block_ms`."""
    answer = connection().xreadgroup(
        GROUP, CONSUMER, {stream_key(shard): ">"}, count=count, block=block_ms
    )
    return _waiting(answer)


def finish(shard: int, finished: Sequence[Finished]) -> None:
    """Takes stored entries out of the stream."""
    keys = (stream_key(shard), waiting_key(shard), unreadable_key(shard))
    for start in range(0, len(finished), FINISH_AT_ONCE):
        arguments = [value for one in finished[start : start + FINISH_AT_ONCE] for value in one]
        run_script(FINISH, keys, GROUP, *arguments)


def set_aside(shard: int, entry: Waiting) -> None:
    """Moves an unreadable entry to a stream that no drain reads. It still counts as in flight."""
    keys = (stream_key(shard), unreadable_key(shard))
    run_script(SET_ASIDE, keys, GROUP, entry.entry_id, entry.data)


def waiting_counts(shard: int) -> dict[str, int]:
    """What is in the stream: `bytes`, `messages`, and messages as `t<tenant>`."""
    return _counts(connection().hgetall(waiting_key(shard)))


def accepted_counts(shard: int) -> dict[tuple[int, int], int]:
    """Messages accepted, by (tenant, minute), for minutes that the shard still counts."""
    return {
        (int(tenant), int(minute)): count
        for name, count in _counts(connection().hgetall(accepted_key(shard))).items()
        for tenant, minute in [name.split(":")]
    }


def accepted_prune(shard: int, counted: Sequence[tuple[int, int]]) -> None:
    """Drops counts for minutes that are over and in the ledger."""
    if counted:
        names = [f"{tenant}:{minute}" for tenant, minute in counted]
        connection().hdel(accepted_key(shard), *names)


def turn_take(shard: int, turn: str | None) -> str | None:
    """Takes the turn for a drain that starts; returns the turn for its successor.

    Returns None to a successor whose `turn` another drain has taken: it must not run.

    Each drain starts its successor, and beat keeps starting drains without a turn in case one died.
    If beat's drain ran between a drain and its successor, both would start successors, and from
    then on two lines of drains would compete for the shard. So every start replaces the turn, and
    the successor that comes too late ends its line. The caller holds the shard's lock, so nobody
    changes the turn between the read and the write.
    """
    key = f"{stream_key(shard)}:turn"
    current: Any = connection().get(key)
    if turn is not None and (current is None or current.decode() != turn):
        return None
    taken = secrets.token_hex(8)
    connection().set(key, taken)
    return taken


def oldest_waiting_at(shards: Iterable[int]) -> datetime | None:
    """The time at which the oldest unstored entry in these shards was accepted; None if there is
    none. Raises RedisError if one of them is unavailable."""
    return _oldest_at(_first_id(shard) for shard in shards)


def survey(shards: Iterable[int]) -> Survey:
    """The oldest waiting entry in the shards that answer, and the shards that do not. Raises
    RedisError if none answers."""
    first_ids, away = [], []
    for shard in shards:
        try:
            first_ids.append(_first_id(shard))
        except RedisError:
            away.append(shard)
    if not first_ids:
        raise ConnectionError("no shard of the stream can be reached")
    return Survey(_oldest_at(first_ids), away)


def _oldest_at(first_ids: Iterable[bytes | None]) -> datetime | None:
    accepted_ms = [int(entry_id.split(b"-")[0]) for entry_id in first_ids if entry_id]
    return datetime.fromtimestamp(min(accepted_ms) / 1000, UTC) if accepted_ms else None


def _first_id(shard: int) -> bytes | None:
    entries: Any = connection().xrange(stream_key(shard), count=1)
    return entries[0][0] if entries else None


def _counts(answer: Any) -> dict[str, int]:
    fields: Mapping[bytes, bytes] = answer
    return {name.decode(): int(count) for name, count in fields.items()}


def _waiting(answer: Any) -> list[Waiting]:
    entries = answer[0][1] if answer else []
    return [Waiting(entry_id, fields[FIELD]) for entry_id, fields in entries if fields]
