import pytest
from django.contrib.auth.models import User
from django.test import Client

from ingest.models import LedgerMinute
from tests.admin import client_of, page, person, told_by
from tests.conftest import Fleet
from tests.ingest.way import append, drain, now, reading, seconds_ago
from tests.telemetry.past import moments

pytestmark = pytest.mark.usefixtures("valkey")


def test_the_ledger_is_of_ones_own_tenants(
    acme: Fleet, rival: Fleet, operator: User, consultant: User
) -> None:
    append(acme, *(reading(acme.device, time) for time in moments(3)))
    append(rival, reading(rival.device, now()))
    drain()
    append(acme, reading(acme.device, seconds_ago(50)))

    def seen(user: User) -> tuple[int, int, list[str]]:
        context = client_of(user).get(page("ingest_ledger")).context
        minutes = sum(one.balance.accepted for one in context["minutes"])
        return context["day"].accepted, minutes, [one.name for one in context["tenants"]]

    assert seen(acme.manager) == (4, 4, ["Acme"])
    assert seen(rival.manager) == (1, 1, ["Rival"])
    assert seen(operator) == seen(consultant) == (5, 5, ["Acme", "Rival"])
    answer = client_of(rival.manager).get(page("ingest_ledger"))
    assert b"acme" not in told_by(answer)
    assert answer.context["day"].in_flight == 0


def test_the_ledger_says_whether_it_balances(acme: Fleet, rival: Fleet) -> None:
    at = seconds_ago(900)
    append(acme, reading(acme.device, at), received_at=at)
    drain()
    client = client_of(acme.manager)
    assert "balanced" in client.get(page("ingest_ledger_figures")).content.decode()

    LedgerMinute.objects.filter(tenant=acme.tenant).update(stored=0)

    assert "1 unaccounted for" in client.get(page("ingest_ledger")).content.decode()
    assert client_of(rival.manager).get(page("ingest_ledger")).context["residual"] == 0


def test_the_ledger_is_for_members(acme: Fleet) -> None:
    newcomer = person("newcomer")
    for name in ("ingest_ledger", "ingest_ledger_figures"):
        assert client_of(newcomer).get(page(name)).status_code == 403
        assert Client().get(page(name)).status_code == 302
