"""What the ledger's page in the admin shows: the figures for the user's own tenants."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils import timezone

from devices.models import Tenant
from devices.tenancy.access import access_in, sees_several_tenants
from ingest.ledger.balances import (
    Balance,
    balance_sum,
    balances,
    minutes_counted,
    residuals_settled,
    settled_until,
    shards_known,
)
from ingest.ledger.in_flight import ShardCounts, counts_read
from ingest.stream.shards import oldest_waiting_at
from telemetry.presence.reasons import duration

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Minute(NamedTuple):
    """A minute of the ledger. `open` messages are in flight or, if the minute is over, missing."""

    minute: datetime
    balance: Balance
    is_over: bool

    @property
    def open(self) -> int:
        return self.balance.residual


class TenantLine(NamedTuple):
    name: str
    balance: Balance
    residual: int


def ledger_context(request: HttpRequest) -> dict[str, Any]:
    """Totals of the last hour and day, the tenants, and the last hour minute by minute."""
    ts = timezone.now()
    access = access_in(request)
    tenants = dict(Tenant.objects.values_list("id", "name"))
    own = None if access.is_operator else list(tenants)
    shards = shards_known()
    oldest = oldest_waiting_at(shards)
    counts = [counts_read(shard) for shard in shards]
    by_tenant = balances(counts=counts, since=ts - DAY, tenant_ids=own)
    residuals = residuals_settled(shards=shards, ts=ts, over=DAY, tenant_ids=own)
    # Minutes in which at least one message was accepted, newest first.
    counted = minutes_counted(shards=shards, since=ts - HOUR, tenant_ids=own)
    settled = settled_until(ts=ts, oldest_waiting_at=oldest)
    return {
        "hour": _since(ts - HOUR, counts, own),
        "day": balance_sum(by_tenant),
        "residual": sum(map(abs, residuals.values())),
        "waiting_for": duration((ts - oldest).total_seconds()) if oldest else None,
        "minutes": [
            Minute(minute, balance, minute + timedelta(minutes=1) <= settled)
            for minute, balance in counted.items()
        ],
        "several_tenants": sees_several_tenants(request),
        "tenants": [
            TenantLine(tenants[tenant_id], balance, residuals.get(tenant_id, 0))
            for tenant_id, balance in by_tenant.items()
            if tenant_id in tenants
        ],
    }


def _since(since: datetime, counts: Sequence[ShardCounts], own: list[int] | None) -> Balance:
    return balance_sum(balances(counts=counts, since=since, tenant_ids=own))
