"""Limits on how many messages a tenant and its devices may send: token buckets in Valkey.

A bucket holds up to `burst` tokens, gains `per_s` a second, and loses one for each message. A batch
passes if there is a token for each message, or if the bucket is full, however large the batch is.
The tokens then go below zero, and later messages wait until there are enough again. So a batch may
be larger than the burst, but in the long run at most `per_s` messages a second pass.

Tenants share a few groups of keys, each with its own hash tag, so that a Valkey Cluster spreads the
groups. All keys of a call are of one group:

    ingest:{limits<n>}:t<tenant>    the tenant's bucket, "<tokens> <microseconds since 1970>"
    ingest:{limits<n>}:d<device>    a device's bucket

A full bucket has no key. All times are Valkey's, so every process of the door agrees on them.
"""

import logging
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from devices.fleet.keys import Speaker
from devices.fleet.registration import KnownDevice
from ingest.messages.errors import LimitReached
from ingest.models import Refusal
from ingest.stream import shards
from ingest.stream.shards import StreamAway

log = logging.getLogger(__name__)

GROUPS = 16

# KEYS: the devices' buckets, then the tenant's bucket if it has a limit. ARGV: the number of
# messages from devices without a limit, the number of devices' buckets, then for each bucket rate,
# burst and messages. Returns how many milliseconds to wait, first for the tenant, then for each
# device; 0 means that the messages pass. The devices come first, so that the tenant's limit counts
# only what theirs let through. Tokens are taken last: if the tenant has to wait, nothing is taken.
TAKE = """
local FIELDS = 3
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local passing, devices = tonumber(ARGV[1]), tonumber(ARGV[2])

local function bucket(n)
    local at = 2 + (n - 1) * FIELDS
    local one = {
        key = KEYS[n],
        per_s = tonumber(ARGV[at + 1]),
        burst = tonumber(ARGV[at + 2]),
        messages = tonumber(ARGV[at + 3]),
    }
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
    return math.ceil(lacking / one.per_s * 1000)
end

local function take(one)
    -- May go below zero. The key expires when the bucket would be full.
    local tokens = one.tokens - one.messages
    redis.call('SET', one.key, string.format('%.6f %.0f', tokens, now_us),
               'PX', string.format('%.0f', math.ceil((one.burst - tokens) / one.per_s * 1000)))
end

local answer, passes = {0}, {}
for n = 1, devices do
    local one = bucket(n)
    answer[n + 1] = wait_ms(one)
    if answer[n + 1] == 0 then
        passing = passing + one.messages
        passes[#passes + 1] = one
    end
end
if passing > 0 and #KEYS > devices then
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

    Raises LimitReached if the tenant's limit refuses what the devices' limits let through, and
    StreamAway if Valkey is unavailable. Then nothing was taken.
    """
    limit = speaker.tenant_limit
    limited = [(one.id, one.limit, count) for one, count in messages.items() if one.limit]
    keys = [_device_key(speaker, device) for device, _, _ in limited]
    free = sum(messages.values()) - sum(count for _, _, count in limited)
    arguments: list[Any] = [free, len(limited)]
    for _, rate, count in limited:
        arguments += (rate.per_s, rate.burst, count)
    if limit is not None:
        keys.append(_tenant_key(speaker))
        arguments += (limit.per_s, limit.burst, 0)
    try:
        wait_ms, *waits_ms = shards.run_script(TAKE, keys, *arguments)
    except RedisError as error:
        raise StreamAway(str(error)) from error
    if wait_ms:
        words, counts = f"the tenant's limit is reached: {limit}", _by_id(messages)
        raise LimitReached(words, wait_ms / 1000, Refusal.Code.TENANT_RATE, counts)
    reached = {
        device: LimitReached(
            f"the device's limit is reached: {rate}",
            wait_ms / 1000,
            Refusal.Code.DEVICE_RATE,
            {device: count},
        )
        for (device, rate, count), wait_ms in zip(limited, waits_ms, strict=True)
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


def limits_key(tenant_id: int, name: str) -> str:
    """A key of the tenant's group. All keys of a group are on the same node of a cluster."""
    return f"ingest:{{limits{tenant_id % GROUPS}}}:{name}"


def _device_key(speaker: Speaker, device: int) -> str:
    return limits_key(speaker.tenant_id, f"d{device}")


def _tenant_key(speaker: Speaker) -> str:
    return limits_key(speaker.tenant_id, f"t{speaker.tenant_id}")


def _by_id(messages: Messages) -> dict[int, int]:
    return {device.id: count for device, count in messages.items()}
