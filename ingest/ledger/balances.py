"""The ledger: what became of every accepted message.

Shards count accepted messages in the same step that appends them. Drains count stored and rejected
ones in the transaction that stores them. This module brings the two together.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Max, Sum
from django.utils import timezone

from ingest.ledger.in_flight import ShardCounts, counts_read
from ingest.models import DrainPosition, LedgerCheck, LedgerMinute
from ingest.stream.shards import accepted_counts, accepted_prune, minute_of, oldest_waiting_at
from telemetry.sql.joining import Became

# A shard keeps a minute's counts for this long: by then nothing more can be accepted in it.
FORGET_AFTER = timedelta(minutes=15)
# This long after a minute, nothing more arrives for it, even with clock skew and slow requests.
SETTLED_AFTER = timedelta(minutes=3)
COUNTED = ("stored", "joined", "duplicate", "conflict", "late", "rejected", "replayed")
COLUMNS = ", ".join(COUNTED)

ADD = f"""
INSERT INTO ingest_ledgerminute (tenant_id, minute, shard, accepted, {COLUMNS})
SELECT tenant_id, to_timestamp(minute * 60), %(shard)s, 0, {COLUMNS}
FROM unnest(%(tenants)s::int[], %(minutes)s::bigint[],
            {", ".join(f"%({name})s::bigint[]" for name in COUNTED)})
     AS counted (tenant_id, minute, {COLUMNS})
WHERE EXISTS (SELECT FROM devices_tenant WHERE id = tenant_id)
ORDER BY tenant_id, minute
ON CONFLICT (tenant_id, minute, shard) DO UPDATE
SET {", ".join(f"{name} = ingest_ledgerminute.{name} + excluded.{name}" for name in COUNTED)}
"""

# A total that only grows, so setting it twice changes nothing.
SET_ACCEPTED = f"""
INSERT INTO ingest_ledgerminute (tenant_id, minute, shard, accepted, {COLUMNS})
SELECT tenant_id, to_timestamp(minute * 60), %(shard)s, accepted, {", ".join("0" for _ in COUNTED)}
FROM unnest(%(tenants)s::int[], %(minutes)s::bigint[], %(accepted)s::bigint[])
     AS counted (tenant_id, minute, accepted)
WHERE EXISTS (SELECT FROM devices_tenant WHERE id = tenant_id)
ORDER BY tenant_id, minute
ON CONFLICT (tenant_id, minute, shard) DO UPDATE
SET accepted = greatest(ingest_ledgerminute.accepted, excluded.accepted)
"""

# The table, plus what the shards have counted that is not in the table yet.
COUNTS = f"""
    SELECT tenant_id, minute, accepted, {COLUMNS} FROM ingest_ledgerminute
    UNION ALL
    SELECT counted.tenant_id, to_timestamp(counted.minute * 60),
           greatest(0, counted.accepted - coalesce(l.accepted, 0)),
           {", ".join("0" for _ in COUNTED)}
    FROM unnest(%(shards)s::int[], %(tenants)s::int[], %(minutes)s::bigint[],
                %(accepted)s::bigint[]) AS counted (shard, tenant_id, minute, accepted)
    LEFT JOIN ingest_ledgerminute l
        ON l.tenant_id = counted.tenant_id AND l.shard = counted.shard
        AND l.minute = to_timestamp(counted.minute * 60)
"""
BALANCES = f"""
SELECT t.id,
       {", ".join(f"coalesce(sum({name}), 0)::bigint" for name in ("accepted", *COUNTED))}
FROM devices_tenant t
LEFT JOIN ({COUNTS}) m ON m.tenant_id = t.id
    AND m.minute >= coalesce(%(since)s::timestamptz, '-infinity')
    AND m.minute < coalesce(%(until)s::timestamptz, 'infinity')
WHERE %(only)s::int[] IS NULL OR t.id = ANY(%(only)s::int[])
GROUP BY t.id, t.name
ORDER BY t.name, t.id
"""
ACCEPTED_BY_MINUTE = f"""
SELECT minute, sum(accepted)::bigint
FROM devices_tenant t JOIN ({COUNTS}) m ON m.tenant_id = t.id
WHERE minute >= %(since)s AND (%(only)s::int[] IS NULL OR t.id = ANY(%(only)s::int[]))
GROUP BY minute
"""


Minute = tuple[int, int]


@dataclass
class Tally:
    """What became of a batch, by (tenant, minute) of acceptance.

    A replay subtracts from `rejected` and `conflict`.
    """

    stored: Counter[Minute] = field(default_factory=Counter)
    joined: Counter[Minute] = field(default_factory=Counter)
    duplicate: Counter[Minute] = field(default_factory=Counter)
    conflict: Counter[Minute] = field(default_factory=Counter)
    late: Counter[Minute] = field(default_factory=Counter)
    rejected: Counter[Minute] = field(default_factory=Counter)
    replayed: Counter[Minute] = field(default_factory=Counter)

    def of(self, became: Became) -> Counter[Minute]:
        """The column for a message whose key was taken."""
        return {
            Became.JOINED: self.joined,
            Became.DUPLICATE: self.duplicate,
            Became.CONFLICT: self.conflict,
            Became.TOO_WIDE: self.rejected,
        }[became]


class Balance(NamedTuple):
    """What became of messages; `residual` is what cannot be accounted for."""

    accepted: int = 0
    stored: int = 0
    joined: int = 0
    duplicate: int = 0
    conflict: int = 0
    late: int = 0
    rejected: int = 0
    replayed: int = 0
    in_flight: int = 0

    @property
    def residual(self) -> int:
        stored = self.stored + self.joined + self.duplicate
        return self.accepted - stored - self.conflict - self.rejected - self.in_flight

    def plus(self, other: "Balance") -> "Balance":
        return Balance(*map(sum, zip(self, other, strict=True)))


def messages_stored(tenant_ids: Sequence[int], since: datetime) -> int:
    """How many messages from these tenants that arrived since `since` are stored or joined. The
    minute of `since` counts in full."""
    minute = since.replace(second=0, microsecond=0)
    minutes = LedgerMinute.objects.filter(tenant__in=tenant_ids, minute__gte=minute)
    return minutes.aggregate(sum=Sum(F("stored") + F("joined"), default=0))["sum"]


def tally_write(*, shard: int, tally: Tally) -> None:
    """Adds what became of a batch. Call it in the transaction that stores the batch."""
    counters = {name: getattr(tally, name) for name in COUNTED}
    keys = sorted(set().union(*counters.values()))
    if not keys:
        return
    values: dict[str, object] = {
        name: [counter[key] for key in keys] for name, counter in counters.items()
    }
    values |= {"shard": shard, "tenants": [t for t, _ in keys], "minutes": [m for _, m in keys]}
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)  # type: ignore[arg-type]


def accepted_collect(*, shard: int) -> None:
    """Copies the shard's accepted counts into the table; removes past minutes from the shard."""
    counted = accepted_counts(shard)
    if not counted:
        return
    _set_accepted(shard, counted)
    over = minute_of(timezone.now() - FORGET_AFTER)
    accepted_prune(shard, [key for key in counted if key[1] < over])


def balance_read() -> Balance:
    """The balance of all tenants, exact only while no drain runs (ingest.ledger.verification)."""
    counts = [counts_read(shard) for shard in shards_known()]
    return balance_sum(balances(counts=counts))


def balance_sum(by_tenant: Mapping[int, Balance]) -> Balance:
    total = Balance()
    for balance in by_tenant.values():
        total = total.plus(balance)
    return total


def balances(
    *,
    counts: Sequence[ShardCounts],
    since: datetime | None = None,
    until: datetime | None = None,
    tenant_ids: Sequence[int] | None = None,
) -> dict[int, Balance]:
    """Balances by tenant id, over the minutes from `since` until just before `until`.

    `counts` are the shards' counts. They add accepted messages that are not in the table yet, and
    everything in flight, whatever its minute. Deleted tenants are left out: their ledger was
    deleted with them.
    """
    values = _counted(counts) | {"since": since, "until": until, "only": _listed(tenant_ids)}
    with connection.cursor() as cursor:
        cursor.execute(BALANCES, values)  # type: ignore[arg-type]
        rows = cursor.fetchall()
    return {
        tenant_id: Balance._make(
            [*sums, sum(shard.in_flight.get(tenant_id, 0) for shard in counts)]
        )
        for tenant_id, *sums in rows
    }


def minutes_counted(
    *, shards: Sequence[int], since: datetime, tenant_ids: Sequence[int] | None
) -> dict[datetime, Balance]:
    """Balances by minute since `since`, newest first; `in_flight` is always 0.

    Stored messages are read before accepted ones, so no minute shows more stored messages than
    accepted ones.
    """
    rows = LedgerMinute.objects.filter(minute__gte=since)
    if tenant_ids is not None:
        rows = rows.filter(tenant__in=tenant_ids)
    sums = rows.values_list("minute").annotate(*(Sum(name) for name in COUNTED))
    became = {minute: counts for minute, *counts in sums}
    values = _counted([counts_read(shard) for shard in shards])
    with connection.cursor() as cursor:
        cursor.execute(
            ACCEPTED_BY_MINUTE,
            values | {"since": since, "only": _listed(tenant_ids)},  # type: ignore[arg-type]
        )
        accepted = dict(cursor.fetchall())
    nothing = [0] * len(COUNTED)
    return {
        minute: Balance(accepted[minute], *became.get(minute, nothing))
        for minute in sorted(accepted, reverse=True)
    }


def residuals_settled(
    *,
    shards: Sequence[int],
    ts: datetime,
    over: timedelta,
    tenant_ids: Sequence[int] | None = None,
) -> dict[int, int]:
    """Messages that cannot be accounted for, by tenant id, over minutes in which nothing is in
    flight any more. Exact even while drains run, but leaves out the last few minutes."""
    until = settled_until(ts=ts, oldest_waiting_at=oldest_waiting_at(shards))
    counts = [counts_read(shard)._replace(in_flight={}) for shard in shards]
    settled = balances(counts=counts, since=ts - over, until=until, tenant_ids=tenant_ids)
    return {tenant_id: balance.residual for tenant_id, balance in settled.items()}


def settled_until(*, ts: datetime, oldest_waiting_at: datetime | None) -> datetime:
    """Minutes before this time are settled: everything accepted in them was stored or rejected."""
    return min(ts, oldest_waiting_at or ts) - SETTLED_AFTER


def ledger_check(*, ts: datetime) -> int:
    """Records for `/health` how many of the last day's messages are unaccounted for; returns it.

    Adds up residuals_settled without signs, so one tenant's surplus does not hide what another is
    missing.
    """
    settled = residuals_settled(shards=shards_known(), ts=ts, over=timedelta(days=1))
    residual = sum(map(abs, settled.values()))
    LedgerCheck.objects.update_or_create(pk=1, defaults={"checked_at": ts, "residual": residual})
    return residual


def last_check() -> LedgerCheck | None:
    """The result of the last ledger_check; None if there has been none yet."""
    return LedgerCheck.objects.filter(pk=1).first()


def shards_known() -> range:
    """The shards of INGEST_SHARDS, and any beyond that were ever drained: all that may hold
    messages or counts that the ledger does not have yet."""
    last = DrainPosition.objects.aggregate(last=Max("shard", default=0))["last"]
    return range(max(settings.INGEST_SHARDS, last + 1))


def position_read(*, shard: int, identity: str) -> str:
    """The last stored entry of this stream; "0-0" if none is stored."""
    position = DrainPosition.objects.filter(pk=shard, identity=identity).first()
    return position.entry_id if position else "0-0"


def position_ensure(*, shard: int, identity: str) -> None:
    """Records that the shard was drained, so that shards_known includes it."""
    DrainPosition.objects.get_or_create(
        pk=shard, defaults={"identity": identity, "entry_id": "0-0"}
    )


def position_write(*, shard: int, identity: str, entry_id: str) -> None:
    """Call it in the transaction that stores everything up to this entry."""
    DrainPosition.objects.update_or_create(
        pk=shard, defaults={"identity": identity, "entry_id": entry_id}
    )


def _counted(counts: Sequence[ShardCounts]) -> dict[str, object]:
    """The shards' accepted counts as columns for COUNTS."""
    keys = [(shard, *key) for shard, counted in enumerate(counts) for key in counted.accepted]
    return {
        "shards": [shard for shard, _, _ in keys],
        "tenants": [tenant for _, tenant, _ in keys],
        "minutes": [minute for _, _, minute in keys],
        "accepted": [counts[shard].accepted[tenant, minute] for shard, tenant, minute in keys],
    }


def _listed(tenant_ids: Sequence[int] | None) -> list[int] | None:
    return None if tenant_ids is None else list(tenant_ids)


@transaction.atomic
def _set_accepted(shard: int, counted: Mapping[tuple[int, int], int]) -> None:
    keys = sorted(counted)
    with connection.cursor() as cursor:
        cursor.execute(
            SET_ACCEPTED,
            {
                "shard": shard,
                "tenants": [tenant for tenant, _ in keys],
                "minutes": [minute for _, minute in keys],
                "accepted": [counted[key] for key in keys],
            },
        )
