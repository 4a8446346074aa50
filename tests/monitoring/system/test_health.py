import json
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client, RequestFactory
from django.utils import timezone

from config.health import CHECKS
from devices import valkey as valkey_client
from ingest.ledger.balances import shards_known
from ingest.ledger.verification import ledger_verify
from ingest.models import LedgerCheck, LedgerMinute
from ingest.stream import nodes, shards
from ingest.tasks import ledger_check
from monitoring.system import alive
from monitoring.system.health import Findings, health_view
from telemetry.models import PresenceSweep
from tests.conftest import Fleet
from tests.ingest.way import append, drain, now, reading, seconds_ago


def test_it_is_ok_when_everything_answers_and_the_worker_sweeps(client: Client, db: None) -> None:
    PresenceSweep.objects.create(swept_at=timezone.now())
    LedgerCheck.objects.create(pk=1, checked_at=timezone.now(), residual=0)
    shards.connection().flushdb()
    valkey_client.connection().delete(alive.KEY)

    answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "database": "ok",
        "valkey": "ok",
        "worker": "ok",
        "ingest": "ok",
        "refusals": "ok",
        **dict.fromkeys(("portal", "drain", "ops", "beat"), "ok"),
        "stream": "ok",
        "oldest_waiting_s": 0.0,
        "valkey_settings": "ok",
        "ledger": "ok",
        "why": {},
    }


@pytest.mark.parametrize("minutes", [None, 2])
def test_it_is_degraded_when_nobody_sweeps(client: Client, db: None, minutes: int | None) -> None:
    if minutes:
        PresenceSweep.objects.create(swept_at=timezone.now() - timedelta(minutes=minutes))

    answer = client.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["worker"] == "degraded"
    assert "beat and ops" in answer.json()["why"]["worker"]


def test_it_is_degraded_when_nobody_collects_refused_messages(client: Client, db: None) -> None:
    now = timezone.now()
    PresenceSweep.objects.create(swept_at=now, refusals_until=now - timedelta(minutes=2))

    answer = client.get("/health")

    assert answer.json()["refusals"] == "degraded"
    assert "For at most 5 minutes no device becomes late" in answer.json()["why"]["refusals"]

    PresenceSweep.objects.update(refusals_until=now - timedelta(seconds=50))
    assert client.get("/health").json()["refusals"] == "ok"


def test_it_fails_when_valkey_is_away(client: Client, db: None, settings: LazySettings) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    valkey_client.connection.cache_clear()
    try:
        answer = client.get("/health")
    finally:
        valkey_client.connection.cache_clear()

    assert answer.status_code == 503
    told = answer.json()
    assert "VALKEY_URL" in told.pop("why")["valkey"]
    assert told == {"status": "failing", "database": "ok", "valkey": "failing"}


def test_the_seeds_check_is_answered_as_it_expects(
    client: Client, db: None, settings: LazySettings
) -> None:
    answer = client.get("/api/status")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "data": {"api": "ok", "redis": "ok"}}
    assert client.post("/api/status").status_code == 405


def test_the_seeds_check_fails_when_valkey_is_away(
    client: Client, db: None, settings: LazySettings
) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    valkey_client.connection.cache_clear()
    try:
        answer = client.get("/api/status")
    finally:
        valkey_client.connection.cache_clear()

    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "data": {"api": "ok", "redis": "failing"}}


def test_it_fails_when_a_stream_of_its_own_is_away(
    client: Client, db: None, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.INGEST_STREAM_URL = "redis://127.0.0.1:1/0"
    nodes.connection.cache_clear()
    try:
        answer = client.get("/health")
    finally:
        nodes.connection.cache_clear()

    assert "of /health failed" not in caplog.text
    assert (answer.status_code, answer.json()["status"]) == (503, "failing")
    assert (answer.json()["valkey"], answer.json()["stream"]) == ("ok", "failing")


@pytest.fixture
def swept(db: None, valkey: None) -> None:
    """A worker that works, and nothing in the shards."""
    PresenceSweep.objects.create(swept_at=timezone.now())


def test_it_tells_for_how_long_the_oldest_message_waits(
    client: Client, acme: Fleet, swept: None
) -> None:
    append(acme, reading(acme.device, seconds_ago(0)))
    accepted_at = shards.oldest_waiting_at(shards_known())
    assert accepted_at is not None

    told = client.get("/health").json()["oldest_waiting_s"]

    assert 0 <= told <= (timezone.now() - accepted_at).total_seconds()


def test_a_ledger_that_does_not_balance_is_an_error(
    client: Client, acme: Fleet, swept: None
) -> None:
    ledger_check()
    assert client.get("/health").json()["ledger"] == "ok"
    lost = LedgerMinute(tenant=acme.tenant, minute=seconds_ago(3600), shard=0, accepted=3, stored=2)
    lost.save()

    ledger_check()

    answer = client.get("/health")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["ledger"]) == ("degraded", "degraded")
    assert "a residual of 1." in answer.json()["why"]["ledger"]
    assert LedgerCheck.objects.get().residual == 1


@pytest.mark.django_db(transaction=True)
def test_a_stream_that_valkey_evicted_is_found_by_the_ledger(
    client: Client, acme: Fleet, swept: None, settings: LazySettings
) -> None:
    settings.INGEST_SHARDS = 1
    at = seconds_ago(600)
    append(acme, reading(acme.device, at), reading(acme.device, seconds_ago(601)), received_at=at)
    assert ledger_verify()[acme.tenant.pk].problems() == []

    shards.connection().delete(shards.stream_key(0))

    assert ledger_verify()[acme.tenant.pk].problems() == ["2 accepted messages are missing"]
    for _ in range(2):
        ledger_check()
        told = client.get("/health").json()
        assert (told["status"], told["ledger"]) == ("degraded", "degraded")
        assert "a residual of 2." in told["why"]["ledger"]
        # It stays known when the stream goes on, and what was lost does not fill the shard.
        append(acme, reading(acme.device, now(), b'{"n": 1}'))
        drain()
        assert shards.waiting_counts(0).get("messages", 0) == 0
        assert shards.waiting_counts(0).get("bytes", 0) == 0
    assert ledger_verify()[acme.tenant.pk].balance.in_flight == 0


def test_what_was_found_long_ago_is_not_told(client: Client, swept: None) -> None:
    LedgerCheck.objects.create(pk=1, checked_at=timezone.now() - timedelta(minutes=6), residual=1)

    told = client.get("/health").json()
    assert told["ledger"] == "degraded"
    assert "not checked" in told["why"]["ledger"]


def test_a_check_that_breaks_breaks_nothing_else(
    rf: RequestFactory, swept: None, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Findings:
        raise ZeroDivisionError("no figure")

    answer = health_view({**CHECKS, "broken": broken})(rf.get("/health"))

    assert answer.status_code == 200
    told = json.loads(answer.content)
    assert (told["status"], told["broken"], told["database"]) == ("degraded", "degraded", "ok")
    assert "no figure" in caplog.text
