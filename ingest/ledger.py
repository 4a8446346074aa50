"""The ledger: of every accepted message, what became of it.

What was accepted is counted by the stream, in the same step that appends; what was stored by the
drain, in the same transaction that stores. The two meet here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from ingest import stream
from ingest.models import DrainPosition, LedgerMinute

# A stream counts a minute until nothing can be accepted in it any more.
FORGET_AFTER = timedelta(minutes=15)
COUNTED = ("stored", "duplicate", "late", "rejected")

ADD = """
INSERT INTO ingest_ledgerminute
    (tenant_id, minute, shard, accepted, stored, duplicate, late, rejected, replayed)
SELECT tenant_id, to_timestamp(minute * 60), %(shard)s, 0, stored, duplicate, late, rejected, 0
FROM unnest(%(tenants)s::int[], %(minutes)s::bigint[], %(stored)s::bigint[],
            %(duplicate)s::bigint[], %(late)s::bigint[], %(rejected)s::bigint[])
     AS counted (tenant_id, minute, stored, duplicate, late, rejected)
WHERE EXISTS (SELECT FROM devices_tenant WHERE id = tenant_id)
ORDER BY tenant_id, minute
ON CONFLICT (tenant_id, minute, shard) DO UPDATE
SET stored = ingest_ledgerminute.stored + excluded.stored,
    duplicate = ingest_ledgerminute.duplicate + excluded.duplicate,
    late = ingest_ledgerminute.late + excluded.late,
    rejected = ingest_ledgerminute.rejected + excluded.rejected
"""

# Absolute, and only upwards: setting it twice is setting it once.
SET_ACCEPTED = """
INSERT INTO ingest_ledgerminute
    (tenant_id, minute, shard, accepted, stored, duplicate, late, rejected, replayed)
SELECT tenant_id, to_timestamp(minute * 60), %(shard)s, accepted, 0, 0, 0, 0, 0
FROM unnest(%(tenants)s::int[], %(minutes)s::bigint[], %(accepted)s::bigint[])
     AS counted (tenant_id, minute, accepted)
WHERE EXISTS (SELECT FROM devices_tenant WHERE id = tenant_id)
ORDER BY tenant_id, minute
ON CONFLICT (tenant_id, minute, shard) DO UPDATE
SET accepted = greatest(ingest_ledgerminute.accepted, excluded.accepted)
"""


@dataclass
class Tally:
    """What became of a batch, by (tenant, minute) of acceptance."""

    stored: Counter[tuple[int, int]] = field(default_factory=Counter)
    duplicate: Counter[tuple[int, int]] = field(default_factory=Counter)
    late: Counter[tuple[int, int]] = field(default_factory=Counter)
    rejected: Counter[tuple[int, int]] = field(default_factory=Counter)


class Balance(NamedTuple):
    """The ledger of all tenants at one moment; `residual` is what cannot be accounted for."""

    accepted: int
    stored: int
    duplicate: int
    rejected: int
    in_flight: int

    @property
    def residual(self) -> int:
        return self.accepted - self.stored - self.duplicate - self.rejected - self.in_flight


def tally_write(*, shard: int, tally: Tally) -> None:
    """Adds what became of a batch; to be called in the transaction that stored it."""
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
    """Brings what the stream counted into the table, and lets it forget minutes that are over."""
    counted = stream.accepted_counts(shard)
    if not counted:
        return
    _set_accepted(shard, counted)
    over = stream.minute_of(timezone.now() - FORGET_AFTER)
    stream.accepted_forget(shard, [key for key in counted if key[1] < over])


def balance_read() -> Balance:
    """The balance of everything, exact only while no drain runs: see ledger_verify."""
    for shard in stream.shards():
        accepted_collect(shard=shard)
    sums = LedgerMinute.objects.aggregate(
        **{name: Sum(name, default=0) for name in ("accepted", "stored", "duplicate", "rejected")}
    )
    in_flight = sum(stream.waiting_counts(shard).get("messages", 0) for shard in stream.shards())
    return Balance(**sums, in_flight=in_flight)


def position_read(*, shard: int, identity: str) -> str:
    """Up to which entry this stream is stored; "0-0" for one that nothing is stored of."""
    position = DrainPosition.objects.filter(pk=shard, identity=identity).first()
    return position.entry_id if position else "0-0"


def position_write(*, shard: int, identity: str, entry_id: str) -> None:
    """To be called in the transaction that stored everything up to this entry."""
    DrainPosition.objects.update_or_create(
        pk=shard, defaults={"identity": identity, "entry_id": entry_id}
    )


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
