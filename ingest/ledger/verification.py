"""Verifies the ledger: recounts the tables and the streams, and reports differences."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Min

from ingest.ledger.balances import Balance, balances, position_read, shards_known
from ingest.ledger.in_flight import ShardCounts, counts_read, stored_and_left
from ingest.models import LedgerMinute, RejectedMessage
from ingest.stream import shards
from telemetry.locks import AdvisoryLock, session_lock_awaited
from telemetry.sql import heartbeat, reading

# A drain hands over its shard after INGEST_DRAIN_RUN_S, or after the batch that it is storing.
WAIT_FOR_DRAIN_S = 120


class Account(NamedTuple):
    """A tenant's ledger, and what the tables really hold.

    `balance` is over all time, `window` over the recounted minutes. `found` are the rows in the
    tables; `kept` and `conflicts` are the rejected messages, and those in conflict with a row.
    """

    balance: Balance
    window: Balance
    found: int
    kept: int
    conflicts: int

    def problems(self) -> list[str]:
        """The differences as text; empty if there are none."""
        residual = self.balance.residual
        words = []
        if residual > 0:
            words.append(f"{residual} accepted messages are missing")
        if residual < 0:
            words.append(f"{-residual} more messages than were accepted")
        stored, rejected, conflict = self.window.stored, self.window.rejected, self.window.conflict
        if self.found != stored:
            words.append(f"{stored} messages were stored, but the tables hold {self.found}")
        if self.kept != rejected:
            words.append(f"{rejected} messages were rejected, but {self.kept} are kept")
        if self.conflicts != conflict:
            words.append(f"{conflict} messages were in conflict, but {self.conflicts} are kept")
        return words


def ledger_verify(*, since: datetime | None = None) -> dict[int, Account]:
    """The accounts of all tenants by id, exact at one moment even if drains run.

    With `since`, the start of a minute, recounts only messages received since then. Drains wait
    briefly while the streams are read, then continue while the tables are counted in a snapshot of
    that moment. Do not call it in a transaction. Raises OperationalError if a drain does not
    release its lock within WAIT_FOR_DRAIN_S.
    """
    with ExitStack() as drains_wait:
        for shard in range(settings.INGEST_MOST_SHARDS):
            lock = session_lock_awaited(AdvisoryLock.DRAIN + shard, timeout_s=WAIT_FOR_DRAIN_S)
            drains_wait.enter_context(lock)
        with _snapshot():
            counts = [_shard_read(shard) for shard in shards_known()]
            drains_wait.close()
            return _accounts(counts, since)


@contextmanager
def _snapshot() -> Iterator[None]:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _shard_read(shard: int) -> ShardCounts:
    """Reads the database first: what is not there yet is then still in the shard's counts."""
    position = position_read(shard=shard, identity=shards.identity_ensure(shard))
    stored = stored_and_left(shard, position=position)
    counts = counts_read(shard)
    in_flight = Counter(counts.in_flight)
    in_flight.subtract(stored)
    return counts._replace(in_flight=in_flight)


def _accounts(counts: Sequence[ShardCounts], since: datetime | None) -> dict[int, Account]:
    # Rows stored before the ledger existed are not in it.
    first = LedgerMinute.objects.aggregate(first=Min("minute"))["first"]
    recounted = max((one for one in (first, since) if one), default=None)
    found = _found(recounted)
    kept, conflicts = (_kept(recounted, is_conflict=one) for one in (False, True))
    everything = balances(counts=counts)
    window = balances(counts=counts, since=recounted)
    return {
        tenant_id: Account(
            balance,
            window[tenant_id],
            found[tenant_id],
            kept.get(tenant_id, 0),
            conflicts.get(tenant_id, 0),
        )
        for tenant_id, balance in everything.items()
    }


def _found(since: datetime | None) -> Counter[int]:
    """Rows in the hypertables by tenant, including those of deleted devices, which stay."""
    found: Counter[int] = Counter()
    if since is not None:
        with connection.cursor() as cursor:
            found.update(reading.count_by_tenant(cursor, since=since))
            found.update(heartbeat.count_by_tenant(cursor, since=since))
    return found


def _kept(since: datetime | None, *, is_conflict: bool) -> Mapping[int, int]:
    if since is None:
        return {}
    rows = RejectedMessage.objects.filter(
        is_conflict=is_conflict, replayed_at=None, received_at__gte=since
    ).order_by()
    return dict(rows.values_list("tenant").annotate(count=Count("pk")))
