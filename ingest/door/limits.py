"""Limits on how many messages a tenant and its devices may send: token buckets in Valkey.

A bucket holds up to `burst` tokens, gains `per_s` a second, and loses one for each message. A batch
passes if there is a token for each message, or if the bucket is full, however large the batch is.
The tokens then go below zero, and later messages wait until there are enough again. So a batch may
be larger than the burst, but in the long run at most `per_s` messages a second pass.

All keys of a call have the hash tag of the tenant's group (see ingest.door.breaches):

    ingest:{limits<n>}:t<tenant>    the tenant's bucket, "<tokens> <microseconds since 1970>"
    ingest:{limits<n>}:d<device>    a device's bucket

A full bucket has no key. All times are Valkey's, so every process of the door agrees on them.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from devices.fleet.keys import Speaker
from devices.fleet.rates import Rate
from devices.fleet.registration import KnownDevice
from ingest.door.breaches import BREACH, breach_name, breaches_key, group_of, limits_key
from ingest.messages.errors import LimitReached
from ingest.models import LimitBreach
from ingest.stream import shards
from ingest.stream.shards import StreamAway

log = logging.getLogger(__name__)

# KEYS: the group's breaches, the devices' buckets, then the tenant's bucket if it has a limit.
# ARGV: the number of messages from devices without a limit, the number of devices' buckets, then
# for each bucket rate, burst, messages, name of the breach and limit as text. Returns how many
# milliseconds to wait, first for the tenant, then for each device; 0 means that the messages pass.
# The devices come first, so that the tenant's limit counts only what theirs let through. Tokens are
# taken last: if the tenant has to wait, nothing is taken.
TAKE = f"""{BREACH}
local FIELDS = 5
local passing, devices = tonumber(ARGV[1]), tonumber(ARGV[2])

local function bucket(n)
    local at = 2 + (n - 1) * FIELDS
    local one = {{
        key = KEYS[n + 1],
        per_s = tonumber(ARGV[at + 1]),
        burst = tonumber(ARGV[at + 2]),
        messages = tonumber(ARGV[at + 3]),
        what = ARGV[at + 4],
        limit = ARGV[at + 5],
    }}
    one.tokens = one.burst
    local before = redis.call('GET', one.key)
    if before then
        local tokens, at_us = string.match(before, '^(%S+) (%S+)$')
        one.tokens = math.min(one.burst, tokens + math.max(0, now_us - at_us) * one.per_s / 1e6)
    end
    return one
end

local function wait_ms(one)
    -- A batch larger than the burst only waits for a full bucket: there are never more tokens.
    local lacking = math.min(one.messages, one.burst) - one.tokens
    if lacking <= 0 then return 0 end
    breach(one.what, one.messages, one.limit)
    return math.ceil(lacking / one.per_s * 1000)
end

local function take(one)
    -- May go below zero. The key expires when the bucket would be full.
    local tokens = one.tokens - one.messages
    redis.call('SET', one.key, string.format('%.6f %.0f', tokens, now_us),
               'PX', string.format('%.0f', math.ceil((one.burst - tokens) / one.per_s * 1000)))
end

local answer, passes = {{0}}, {{}}
for n = 1, devices do
    local one = bucket(n)
    answer[n + 1] = wait_ms(one)
    if answer[n + 1] == 0 then
        passing = passing + one.messages
        passes[#passes + 1] = one
    end
end
if passing > 0 and #KEYS > devices + 1 then
    local tenant = bucket(devices + 1)
    tenant.messages = passing
    answer[1] = wait_ms(tenant)
    passes[#passes + 1] = tenant
end
if answer[1] == 0 then
    for _, one in ipairs(passes) do take(one) end
end
return answer
"""


# Gives tokens back to buckets. ARGV: for each bucket its burst and the number of messages. A bucket
# without a key is full.
GIVE_BACK = """
for n, key in ipairs(KEYS) do
    local before = redis.call('GET', key)
    if before then
        local tokens, at_us = string.match(before, '^(%S+) (%S+)$')
        tokens = math.min(ARGV[2 * n - 1], tokens + ARGV[2 * n])
        redis.call('SET', key, string.format('%.6f ', tokens) .. at_us, 'KEEPTTL')
    end
end
"""

Messages = Mapping[KnownDevice, int]


class Outcome(NamedTuple):
    """How many messages from each device pass, and the limits refusing the others, by device id."""

    taken: Messages
    reached: Mapping[int, LimitReached]


def is_limited(speaker: Speaker, devices: Collection[KnownDevice]) -> bool:
    """True if any limit applies to these devices' messages; if not, there is no need for Valkey."""
    if speaker.tenant_limit is not None:
        return bool(devices)
    return any(one.limit is not None for one in devices)


def limits_take(*, speaker: Speaker, messages: Messages) -> Outcome:
    """Takes tokens for each device's messages from all limits that apply.

    Refused messages are counted as breaches. Raises LimitReached if the tenant's limit refuses what
    the devices' limits let through, and StreamAway if Valkey is unavailable. Then nothing was
    taken.
    """
    tenant_id, limit = speaker.tenant_id, speaker.tenant_limit
    limited = [(one.id, one.limit, count) for one, count in messages.items() if one.limit]
    keys = [breaches_key(group_of(tenant_id)), *(_device_key(speaker, one[0]) for one in limited)]
    free = sum(messages.values()) - sum(count for _, _, count in limited)
    arguments: list[Any] = [free, len(limited)]
    for device, rate, count in limited:
        name = breach_name(tenant_id, LimitBreach.Kind.DEVICE_RATE, device)
        arguments += _bucket(rate, count, name)
    if limit is not None:
        keys.append(_tenant_key(speaker))
        arguments += _bucket(limit, 0, breach_name(tenant_id, LimitBreach.Kind.TENANT_RATE))
    try:
        wait_ms, *waits_ms = shards.run_script(TAKE, keys, *arguments)
    except RedisError as error:
        raise StreamAway(str(error)) from error
    if wait_ms:
        raise LimitReached(f"the tenant's limit is reached: {limit}", wait_ms / 1000)
    reached = {
        device: LimitReached(f"the device's limit is reached: {rate}", wait_ms / 1000)
        for (device, rate, _), wait_ms in zip(limited, waits_ms, strict=True)
        if wait_ms
    }
    return Outcome({one: n for one, n in messages.items() if one.id not in reached}, reached)


def limits_give_back(*, speaker: Speaker, taken: Messages) -> None:
    """Gives back the tokens for messages that were not accepted: they will be sent again."""
    buckets = [(_device_key(speaker, one.id), one.limit, n) for one, n in taken.items()]
    buckets.append((_tenant_key(speaker), speaker.tenant_limit, sum(taken.values())))
    keys = [key for key, rate, _ in buckets if rate]
    arguments = [value for _, rate, n in buckets if rate for value in (rate.burst, n)]
    if not keys:
        return
    try:
        shards.run_script(GIVE_BACK, keys, *arguments)
    except RedisError:
        log.exception("could not give unused tokens back to tenant %d's limits", speaker.tenant_id)


def _device_key(speaker: Speaker, device: int) -> str:
    return limits_key(group_of(speaker.tenant_id), f"d{device}")


def _tenant_key(speaker: Speaker) -> str:
    return limits_key(group_of(speaker.tenant_id), f"t{speaker.tenant_id}")


def _bucket(rate: Rate, messages: int, breach: str) -> Iterator[float | int | str]:
    yield from (rate.per_s, rate.burst, messages, breach, str(rate))
