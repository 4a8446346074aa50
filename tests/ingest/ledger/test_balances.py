from datetime import timedelta

import pytest
from django.utils import timezone

from ingest.ledger.balances import (
    balances,
    ledger_check,
    minutes_counted,
    residuals_settled,
    settled_until,
)
from ingest.ledger.in_flight import counts_read
from ingest.models import LedgerMinute
from ingest.stream import shards
from tests.conftest import Fleet
from tests.ingest.way import append, drain, ledger, now, reading, seconds_ago

pytestmark = pytest.mark.usefixtures("valkey")
DAY = timedelta(days=1)


def settled(fleet: Fleet) -> int:
    return residuals_settled(shards=[0], ts=timezone.now(), over=DAY)[fleet.tenant.pk]


def lose(fleet: Fleet, count: int) -> None:
    """As if the ledger's tenant had stored fewer messages than it accepted."""
    row = LedgerMinute.objects.filter(tenant=fleet.tenant).earliest("minute")
    key = {"tenant": row.tenant_id, "minute": row.minute, "shard": row.shard}
    LedgerMinute.objects.filter(**key).update(stored=row.stored - count)


def old(fleet: Fleet, *seconds: float) -> None:
    """Readings that were accepted and stored ten minutes ago."""
    at = seconds_ago(600)
    readings = (reading(fleet.device, at + timedelta(seconds=n)) for n in seconds)
    append(fleet, *readings, received_at=at)
    drain()


def test_nothing_is_missing_when_everything_is_stored(acme: Fleet, rival: Fleet) -> None:
    old(acme, 1, 2, 2)
    old(rival, 1)

    assert ledger_check(ts=timezone.now()) == 0
    assert ledger(acme) == {"accepted": 3, "stored": 2, "duplicate": 1}


def test_what_is_missing_is_seen_in_its_tenant(acme: Fleet, rival: Fleet) -> None:
    old(acme, 1, 2, 3)
    old(rival, 1, 2, 3)
    lose(acme, 2)

    assert settled(acme) == 2
    assert settled(rival) == 0
    assert ledger_check(ts=timezone.now()) == 2


def test_what_is_missing_in_one_tenant_is_not_made_up_for_by_another(
    acme: Fleet, rival: Fleet
) -> None:
    old(acme, 1, 2)
    old(rival, 1, 2)
    lose(acme, 2)
    lose(rival, -2)

    assert ledger_check(ts=timezone.now()) == 4


def test_what_is_in_flight_is_not_missing(acme: Fleet) -> None:
    append(acme, reading(acme.device, now()))

    assert ledger_check(ts=timezone.now()) == 0
    (balance,) = balances(counts=[counts_read(0)]).values()
    assert (balance.accepted, balance.in_flight, balance.residual) == (1, 1, 0)
    assert ledger(acme) == {}


def test_a_minute_is_settled_when_nothing_of_it_can_wait_any_more() -> None:
    ts = timezone.now()
    margin = timedelta(minutes=3)

    assert settled_until(ts=ts, oldest_waiting_at=None) == ts - margin
    assert settled_until(ts=ts, oldest_waiting_at=ts - DAY) == ts - DAY - margin


def test_balances_are_of_the_minutes_asked_for(acme: Fleet, rival: Fleet) -> None:
    old(acme, 1, 2)
    append(acme, reading(acme.device, now()))
    counts = [counts_read(0)]
    minute_ago = timezone.now() - timedelta(minutes=2)

    assert balances(counts=counts)[acme.tenant.pk].accepted == 3
    assert balances(counts=counts, since=minute_ago)[acme.tenant.pk].accepted == 1
    assert balances(counts=counts, until=minute_ago)[acme.tenant.pk].accepted == 2
    assert list(balances(counts=counts, tenant_ids=[rival.tenant.pk])) == [rival.tenant.pk]


def test_a_minute_has_accepted_what_it_has_stored_before_the_stream_was_asked(
    acme: Fleet, rival: Fleet
) -> None:
    old(acme, 1, 2)
    at = now().replace(second=0, microsecond=0)
    append(acme, reading(acme.device, at), received_at=at)
    append(rival, reading(rival.device, at), received_at=at)
    drain()
    # As if the accepted counts had not been collected since.
    LedgerMinute.objects.filter(minute=at).update(accepted=0)

    def counted(*tenant_ids: int) -> list[tuple[int, int]]:
        since = timezone.now() - timedelta(hours=1)
        minutes = minutes_counted(shards=[0], since=since, tenant_ids=tenant_ids or None)
        assert list(minutes) == sorted(minutes, reverse=True)
        return [(one.accepted, one.stored) for one in minutes.values()]

    assert counted() == [(2, 2), (2, 2)]
    assert counted(acme.tenant.pk) == [(1, 1), (2, 2)]
    assert counted(rival.tenant.pk) == [(1, 1)]


def test_a_deleted_tenant_makes_no_false_alarm(acme: Fleet, rival: Fleet) -> None:
    old(acme, 1, 2)
    append(acme, reading(acme.device, seconds_ago(601)), received_at=seconds_ago(601))
    acme.tenant.delete()

    assert list(balances(counts=[counts_read(0)])) == [rival.tenant.pk]
    assert ledger_check(ts=timezone.now()) == 0
    drain()
    assert ledger_check(ts=timezone.now()) == 0
    assert shards.waiting_counts(0)["messages"] == 0
