from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from devices import valkey as valkey_client
from ingest.models import LedgerCheck
from monitoring.system import alive
from telemetry.models import PresenceSweep

LONG_AGO = 1_000_000


@pytest.fixture
def swept(db: None, valkey: None) -> None:
    valkey_client.connection().delete(alive.KEY)
    PresenceSweep.objects.create(swept_at=timezone.now())
    LedgerCheck.objects.create(pk=1, checked_at=timezone.now(), residual=0)


@pytest.mark.parametrize("part", ["portal", "drain", "ops", "beat"])
def test_health_tells_which_part_has_stopped(client: Client, swept: None, part: str) -> None:
    for name in ("portal", "drain", "ops", "beat"):
        alive.alive_note(name)
    assert client.get("/health").json()["status"] == "ok"

    valkey_client.connection().hset(alive.KEY, part, LONG_AGO)

    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    told = {name: answer.json()[name] for name in ("portal", "drain", "ops", "beat")}
    assert told == {"portal": "ok", "drain": "ok", "ops": "ok", "beat": "ok", part: "degraded"}
    assert f"{part} has stopped" in answer.json()["why"][part]


def test_a_part_that_was_never_there_is_not_missed(client: Client, swept: None) -> None:
    assert client.get("/health").json()["beat"] == "ok"


def test_a_part_is_silent_some_seconds_after_it_last_said_so(
    swept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive.alive_note("portal")
    assert alive.silent_parts() == set()

    monkeypatch.setattr(alive, "SILENT_AFTER", timedelta(milliseconds=-1))

    assert alive.silent_parts() == {"portal"}
