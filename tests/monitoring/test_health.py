from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from monitoring import health
from telemetry.models import PresenceSweep


def test_it_is_ok_when_everything_answers_and_the_worker_sweeps(client: Client, db: None) -> None:
    PresenceSweep.objects.create(swept_at=timezone.now())

    answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "database": "ok",
        "valkey": "ok",
        "worker": "ok",
    }


@pytest.mark.parametrize("minutes", [None, 2])
def test_it_is_degraded_when_nobody_sweeps(client: Client, db: None, minutes: int | None) -> None:
    if minutes:
        PresenceSweep.objects.create(swept_at=timezone.now() - timedelta(minutes=minutes))

    answer = client.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["worker"] == "silent"


def test_it_fails_when_valkey_is_away(client: Client, db: None, settings: LazySettings) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    health._valkey.cache_clear()
    try:
        answer = client.get("/health")
    finally:
        health._valkey.cache_clear()

    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "database": "ok", "valkey": "away"}


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
    health._valkey.cache_clear()
    try:
        answer = client.get("/api/status")
    finally:
        health._valkey.cache_clear()

    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "data": {"api": "ok", "redis": "away"}}
