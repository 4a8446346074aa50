"""What the door refused, as counted in Valkey until the worker has copied it into the table.

Tenants share a few groups of keys, each with its own hash tag, so that a Valkey Cluster spreads the
groups and the worker knows where to look:

    ingest:{refused<n>}:m<minute>   "<tenant>:<device>:<code>:<field>" (0 for no device): the number
                                    of messages refused, the times of the first and the last (in
                                    microseconds since 1970), and JSON of field, reason and sample;
                                    minutes since 1970. And "n:…": how many such names there are
    ingest:{refused<n>}:minutes     the minutes, with how many names each has; "all" in total
    ingest:{refused<n>}:changed     "<minute>:<name>" of what has changed since it was collected
    ingest:{refused<n>}:contacts    "<tenant>:<device>:<accepted>": like a count, for all codes and
                                    fields together, since it was collected; its times are by the
                                    clock of the door, as those of accepted messages are
    ingest:{refused<n>}:…-taken     what is being copied into the table

Counts are totals that only grow, so storing them twice changes nothing. Their times are Valkey's.
Names are bounded: MOST_FIELDS for a device, code and minute, then the field is `*`; MOST_NAMES for
a tenant and minute and MOST_IN_GROUP in all, then the device is 0 as well.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import RedisError

from ingest.stream import nodes, shards

GROUPS = 16
MOST_FIELDS = 5
MOST_NAMES = 2_000
MOST_IN_GROUP = 20_000
# Stands for all fields beyond MOST_FIELDS.
OTHERS = "*"
# This long after a minute, nothing more is counted for it.
COUNTED_AFTER_MINUTES = 2

# KEYS: minutes, changed. ARGV: the prefix of the minutes' keys, then for each count tenant, device,
# code, field, messages, how many microseconds ago the first and the last were, and the text.
COUNT = f"""
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local oldest = math.floor(now[1] / 60) - {COUNTED_AFTER_MINUTES}

local function names(key, of) return tonumber(redis.call('HGET', key, 'n:' .. of) or '0') end

local function place(key, minute, tenant, device, code, field)
    local of = tenant .. ':' .. device .. ':' .. code
    local name = of .. ':' .. field
    if redis.call('HEXISTS', key, name) == 1 then return name end
    if field ~= '{OTHERS}' and names(key, of) >= {MOST_FIELDS} then
        field = '{OTHERS}'
        name = of .. ':' .. field
        if redis.call('HEXISTS', key, name) == 1 then return name end
    end
    local all = tonumber(redis.call('HGET', KEYS[1], 'all') or '0')
    if names(key, tenant) >= {MOST_NAMES} or all >= {MOST_IN_GROUP} then
        name = tenant .. ':0:' .. code .. ':{OTHERS}'
        if redis.call('HEXISTS', key, name) == 1 then return name end
    elseif field ~= '{OTHERS}' then
        redis.call('HINCRBY', key, 'n:' .. of, 1)
    end
    redis.call('HINCRBY', key, 'n:' .. tenant, 1)
    redis.call('HINCRBY', KEYS[1], minute, 1)
    redis.call('HINCRBY', KEYS[1], 'all', 1)
    return name
end

for n = 2, #ARGV, 8 do
    local first_us, last_us = now_us - ARGV[n + 5], now_us - ARGV[n + 6]
    local minute = math.max(oldest, math.floor(last_us / 60000000))
    local key = ARGV[1] .. string.format('%.0f', minute)
    local name = place(key, string.format('%.0f', minute), ARGV[n], ARGV[n + 1], ARGV[n + 2],
                       ARGV[n + 3])
    local count, text = tonumber(ARGV[n + 4]), ARGV[n + 7]
    first_us = math.max(first_us, minute * 60000000)
    last_us = math.max(last_us, first_us)
    local before = redis.call('HGET', key, name)
    if before then
        local was, first, last, said = string.match(before, '^(%d+) (%d+) (%d+) (.*)$')
        count = count + was
        first_us = math.min(first_us, first)
        if tonumber(last) > last_us then last_us, text = tonumber(last), said end
    end
    local total = string.format('%.0f %.0f %.0f ', count, first_us, last_us) .. text
    redis.call('HSET', key, name, total)
    redis.call('SADD', KEYS[2], string.format('%.0f:', minute) .. name)
end
"""

# KEYS: contacts. ARGV: for each contact its name, messages, when the first and the last came, and
# the text.
CONTACT = """
for n = 1, #ARGV, 5 do
    local count, first_us, last_us = tonumber(ARGV[n + 1]), ARGV[n + 2], ARGV[n + 3]
    local text = ARGV[n + 4]
    local before = redis.call('HGET', KEYS[1], ARGV[n])
    if before then
        local was, first, last, said = string.match(before, '^(%d+) (%d+) (%d+) (.*)$')
        count = count + was
        if tonumber(first) < tonumber(first_us) then first_us = first end
        if tonumber(last) > tonumber(last_us) then last_us, text = last, said end
    end
    redis.call('HSET', KEYS[1], ARGV[n],
               string.format('%.0f ', count) .. first_us .. ' ' .. last_us .. ' ' .. text)
end
"""

# Takes what has changed, and what was taken before and not forgotten. KEYS: changed, changed-taken,
# contacts, contacts-taken, minutes, and a key of which all but the minute is used. Returns the time
# in microseconds, the changed names, their values, the contacts, and how many minutes there are.
TAKE = """
if redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('SUNIONSTORE', KEYS[2], KEYS[2], KEYS[1])
    redis.call('DEL', KEYS[1])
elseif redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('RENAME', KEYS[1], KEYS[2])
end
if redis.call('EXISTS', KEYS[4]) == 1 then
    local more = redis.call('HGETALL', KEYS[3])
    for n = 1, #more, 2 do redis.call('HSET', KEYS[4], more[n], more[n + 1]) end
    redis.call('DEL', KEYS[3])
elseif redis.call('EXISTS', KEYS[3]) == 1 then
    redis.call('RENAME', KEYS[3], KEYS[4])
end
local prefix = string.sub(KEYS[6], 1, -2)
local names, values = redis.call('SMEMBERS', KEYS[2]), {}
for n, name in ipairs(names) do
    local minute, rest = string.match(name, '^(%d+):(.*)$')
    values[n] = redis.call('HGET', prefix .. minute, rest)
end
local now = redis.call('TIME')
return {string.format('%.0f', now[1] * 1000000 + now[2]), names, values,
        redis.call('HGETALL', KEYS[4]), redis.call('HLEN', KEYS[5])}
"""

# Forgets what was taken, and minutes for which nothing more is counted. KEYS: changed-taken,
# contacts-taken, minutes, and as in TAKE.
FORGET = f"""
redis.call('DEL', KEYS[1], KEYS[2])
local oldest = math.floor(redis.call('TIME')[1] / 60) - {COUNTED_AFTER_MINUTES}
local prefix = string.sub(KEYS[4], 1, -2)
for _, minute in ipairs(redis.call('HKEYS', KEYS[3])) do
    if minute ~= 'all' and tonumber(minute) < oldest then
        redis.call('DEL', prefix .. minute)
        redis.call('HINCRBY', KEYS[3], 'all', -redis.call('HGET', KEYS[3], minute))
        redis.call('HDEL', KEYS[3], minute)
    end
end
"""


class Name(NamedTuple):
    """What is counted together; `device` is 0 for none."""

    tenant_id: int
    device: int
    code: str
    field: str


class Said(msgspec.Struct, array_like=True):
    """The reason in words, and the sample, of the last message that was counted; and its field,
    which the name does not have if it stands for several."""

    field: str
    reason: str
    sample: str


class Total(NamedTuple):
    """What is known under a name; times in microseconds since 1970."""

    refused: int
    first_us: int
    last_us: int
    said: Said


class Row(NamedTuple):
    """A total of one minute (since 1970)."""

    minute: int
    name: Name
    total: Total


class Contact(NamedTuple):
    """A device that said something that was refused or, if `accepted`, left out of a message."""

    tenant_id: int
    device: int
    accepted: bool
    total: Total


class Taken(NamedTuple):
    """What a group has counted until `at_us`, microseconds since 1970 by its clock. If not
    `is_empty`, there is something to forget."""

    group: int
    at_us: int
    rows: list[Row]
    contacts: list[Contact]
    is_empty: bool


class Added(NamedTuple):
    """What a process adds to a count: messages, how many microseconds ago the first and the last
    were, and what was said."""

    refused: int
    first_ago_us: int
    last_ago_us: int
    said: Said


def group_of(tenant_id: int) -> int:
    return tenant_id % GROUPS


def refused_key(group: int, name: str) -> str:
    """A key of the group. All keys of a group are on the same node of a cluster."""
    return f"ingest:{{refused{group}}}:{name}"


def counts_add(group: int, counts: Sequence[tuple[Name, Added]]) -> None:
    """Adds to the counts of the group's tenants. Raises RedisError."""
    keys = (refused_key(group, "minutes"), refused_key(group, "changed"))
    arguments = [value for name, added in counts for value in (*name, *_values(added))]
    shards.run_script(COUNT, keys, refused_key(group, "m"), *arguments)


def contacts_add(group: int, contacts: Sequence[Contact]) -> None:
    """The same for the devices of the group's tenants. Raises RedisError."""
    arguments: list[Any] = []
    for tenant_id, device, accepted, total in contacts:
        arguments += (f"{tenant_id}:{device}:{int(accepted)}", *_values(total))
    shards.run_script(CONTACT, (refused_key(group, "contacts"),), *arguments)


def counts_take() -> list[Taken]:
    """What has changed, by group, until it is forgotten. Leaves out groups whose node is
    unavailable; raises RedisError if none answers."""
    names = ("changed", "changed-taken", "contacts", "contacts-taken", "minutes", "m0")
    keys = {group: [refused_key(group, name) for name in names] for group in range(GROUPS)}
    answers = nodes.run_on_all(TAKE, keys)
    taken = [
        _taken(group, answer)
        for group, answer in answers.items()
        if not isinstance(answer, RedisError)
    ]
    if not taken:
        raise next(iter(answers.values()))
    return taken


def counts_forget(groups: Iterable[int]) -> None:
    """Forgets what was taken of these groups. A group whose node is unavailable is taken again."""
    names = ("changed-taken", "contacts-taken", "minutes", "m0")
    keys = {group: [refused_key(group, name) for name in names] for group in groups}
    nodes.run_on_all(FORGET, keys)


def _values(counted: Added | Total) -> tuple[int, int, int, bytes]:
    refused, first_us, last_us, said = counted
    return refused, first_us, last_us, msgspec.json.encode(said)


def _taken(group: int, answer: Any) -> Taken:
    at_us, names, values, contacts, minutes = answer
    rows = [
        _row(name.decode(), value)
        for name, value in zip(names, values, strict=True)
        if value is not None
    ]
    pairs = zip(contacts[::2], contacts[1::2], strict=True)
    is_empty = not (names or contacts or minutes)
    return Taken(group, int(at_us), rows, [_contact(*pair) for pair in pairs], is_empty)


def _row(name: str, value: bytes) -> Row:
    minute, tenant_id, device, code, field = name.split(":", 4)
    return Row(int(minute), Name(int(tenant_id), int(device), code, field), _total(value))


def _contact(name: bytes, value: bytes) -> Contact:
    tenant_id, device, accepted = map(int, name.split(b":"))
    return Contact(tenant_id, device, bool(accepted), _total(value))


def _total(value: bytes) -> Total:
    refused, first_us, last_us, text = value.split(b" ", 3)
    said = msgspec.json.decode(text, type=Said)
    return Total(int(refused), int(first_us), int(last_us), said)
