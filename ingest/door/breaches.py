"""Which limits were hit: counted in Valkey when messages are refused, then copied to the table.

Tenants share a few groups of keys, each with its own hash tag, so that a Valkey Cluster spreads the
groups and the worker knows where to look:

    ingest:{limits<n>}:breaches    "<tenant>:<kind>:<device>:<minute>" (0 for no device; minutes
                                   since 1970): the number of messages refused, the times of the
                                   first and last refusal (in microseconds since 1970), and the
                                   limit as text

Counts are totals that only grow, so storing them twice changes nothing. All times are Valkey's.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from redis.exceptions import RedisError

from devices.pruning import rows_prune
from ingest.models import LimitBreach
from ingest.stream import shards

log = logging.getLogger(__name__)

GROUPS = 16
# This long after a minute, nothing more is counted for it.
FORGET_AFTER_MINUTES = 3

# For scripts whose first key is a group's breaches.
BREACH = """
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local function breach(what, refused, limit)
    local field = what .. ':' .. math.floor(now[1] / 60)
    local count, first_us = 0, now_us
    local before = redis.call('HGET', KEYS[1], field)
    if before then count, first_us = string.match(before, '^(%d+) (%d+)') end
    redis.call('HSET', KEYS[1], field,
               string.format('%.0f %.0f %.0f ', count + refused, first_us, now_us) .. limit)
end
"""
RECORD = f"{BREACH} breach(ARGV[1], ARGV[2], ARGV[3])"
COUNTED = "return {redis.call('TIME')[1], redis.call('HGETALL', KEYS[1])}"

UPSERT = """
INSERT INTO ingest_limitbreach
    (tenant_id, kind, device_id, minute, limit_words, refused, first_at, last_at)
SELECT tenant_id, kind, nullif(device, 0), to_timestamp(minute * 60), words, refused,
       to_timestamp(first_us / 1e6), to_timestamp(last_us / 1e6)
FROM unnest(%(tenants)s::int[], %(kinds)s::text[], %(devices)s::int[], %(minutes)s::bigint[],
            %(words)s::text[], %(refused)s::bigint[], %(firsts)s::float8[], %(lasts)s::float8[])
     AS counted (tenant_id, kind, device, minute, words, refused, first_us, last_us)
WHERE EXISTS (SELECT FROM devices_tenant t WHERE t.id = counted.tenant_id)
  AND (device = 0 OR EXISTS (SELECT FROM devices_device d WHERE d.id = counted.device))
ORDER BY tenant_id, kind, device, minute
ON CONFLICT (tenant_id, kind, device_id, minute) DO UPDATE
SET limit_words = excluded.limit_words,
    refused = greatest(ingest_limitbreach.refused, excluded.refused),
    first_at = least(ingest_limitbreach.first_at, excluded.first_at),
    last_at = greatest(ingest_limitbreach.last_at, excluded.last_at)
WHERE ingest_limitbreach.refused < excluded.refused
"""


class Window(NamedTuple):
    """What one limit refused in one minute."""

    tenant_id: int
    kind: str
    device: int
    minute: int
    refused: int
    first_us: int
    last_us: int
    limit: str


# Why messages were refused, with the limit's value.
WORDS: dict[str, str] = {
    LimitBreach.Kind.TENANT_RATE: "All devices together sent more than {limit}",
    LimitBreach.Kind.DEVICE_RATE: "{device} sent more than {limit}",
    LimitBreach.Kind.FOREIGN_DEVICE: "{device} spoke for another device; {limit}",
    LimitBreach.Kind.BACKLOG: "Messages came faster than they were stored: {limit}",
}


def breach_words(breach: LimitBreach) -> str:
    """Which limit refused the messages, and its value."""
    device = breach.device.device_id if breach.device else "A device"
    words = WORDS.get(breach.kind, "{limit}")
    return words.format(device=device, limit=breach.limit_words)


def group_of(tenant_id: int) -> int:
    return tenant_id % GROUPS


def limits_key(group: int, name: str) -> str:
    """A key of the group. All keys of a group are on the same node of a cluster."""
    return f"ingest:{{limits{group}}}:{name}"


def breaches_key(group: int) -> str:
    return limits_key(group, "breaches")


def breach_name(tenant_id: int, kind: LimitBreach.Kind, device: int | None = None) -> str:
    """The breach's hash field without the minute, which the script adds."""
    return f"{tenant_id}:{kind.value}:{device or 0}"


def breach_record(
    *,
    tenant_id: int,
    kind: LimitBreach.Kind,
    limit: str,
    refused: int = 1,
    device: int | None = None,
) -> None:
    """Counts messages that were refused for a reason other than a rate.

    If they cannot be counted, that is logged; they stay refused.
    """
    keys = (breaches_key(group_of(tenant_id)),)
    try:
        shards.run_script(RECORD, keys, breach_name(tenant_id, kind, device), refused, limit)
    except RedisError:
        log.exception("could not count a breach of %s by tenant %d", kind, tenant_id)


def breaches_collect() -> int:
    """Copies the counts into the table; returns the number of windows.

    Windows of past minutes are removed from Valkey once they are stored. Windows of deleted tenants
    and devices are dropped.
    """
    return sum(_collect(group) for group in range(GROUPS))


def breaches_prune(*, ts: datetime) -> int:
    """Removes breaches older than settings.LIMIT_BREACH_DAYS; returns how many."""
    before = ts - timedelta(days=settings.LIMIT_BREACH_DAYS)
    return rows_prune(LimitBreach, field="minute", before=before)


def _collect(group: int) -> int:
    answer: Any = shards.run_script(COUNTED, (breaches_key(group),))
    minute_now = int(answer[0]) // 60
    counted = dict(zip(answer[1][::2], answer[1][1::2], strict=True))
    if not counted:
        return 0
    windows = {name: _window(name.decode(), value.decode()) for name, value in counted.items()}
    _store(windows)
    over = [name for name, one in windows.items() if one.minute < minute_now - FORGET_AFTER_MINUTES]
    if over:
        shards.connection().hdel(breaches_key(group), *over)
    return len(windows)


def _window(name: str, value: str) -> Window:
    tenant_id, kind, device, minute = name.split(":")
    refused, first_us, last_us, limit = value.split(" ", 3)
    counts = int(refused), int(first_us), int(last_us)
    return Window(int(tenant_id), kind, int(device), int(minute), *counts, limit)


@transaction.atomic
def _store(windows: Mapping[bytes, Window]) -> None:
    names = ("tenants", "kinds", "devices", "minutes", "refused", "firsts", "lasts", "words")
    columns = dict(zip(names, map(list, zip(*windows.values(), strict=True)), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(UPSERT, columns)
