"""Times when no server listened, as servers record them and sweeps use them."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from devices import valkey
from ingest.tasks import HOLD_MAX, presence_sweep
from telemetry.models import DeviceStatus, PresenceSweep
from telemetry.presence.listening import BREAK_MS, KEY, TOGETHER_MS, listening, listening_note
from tests.admin import client_of
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store


@pytest.fixture(autouse=True)
def nobody_has_listened() -> Iterator[None]:
    valkey.connection().delete(KEY)
    yield
    valkey.connection().delete(KEY)


def move_back(ms: int) -> None:
    """Makes the records this much older."""
    client: Any = valkey.connection()
    for field, value in client.hgetall(KEY).items():
        client.hset(KEY, field, int(value) - ms)


def state_of(fleet: Fleet) -> str:
    return DeviceStatus.objects.get(device=fleet.device).state


def heard_ago(fleet: Fleet, seconds: float) -> datetime:
    """The excused silence of a device that is expected every 60 s with 30 s grace."""
    at = timezone.now() - timedelta(seconds=seconds)
    heartbeats_store(heartbeats=[heartbeat(fleet.device, at)])
    PresenceSweep.objects.create(swept_at=timezone.now())
    return at


def test_nothing_is_known_where_no_server_ever_listened() -> None:
    assert listening() is None


def test_a_server_that_listens_on_makes_no_break() -> None:
    listening_note()
    move_back(BREAK_MS - 500)
    listening_note()

    door = listening()
    assert door is not None
    assert door.break_before is None
    assert abs(timezone.now() - door.at) < timedelta(seconds=1)


def test_a_restart_is_a_break_and_another_one_soon_after_is_the_same() -> None:
    listening_note()
    move_back(20_000)
    listening_note()
    move_back(10_000)
    listening_note()
    door = listening()
    assert door is not None and door.break_before is not None
    assert door.break_before.until == door.at
    away = door.at - door.break_before.since
    assert timedelta(seconds=29.9) < away < timedelta(seconds=31)

    client: Any = valkey.connection()
    client.hset(KEY, "at", int(client.hget(KEY, "at")) + TOGETHER_MS)
    move_back(TOGETHER_MS + 10_000)
    listening_note()
    door = listening()
    assert door is not None and door.break_before is not None
    away = door.at - door.break_before.since
    assert timedelta(seconds=9.9) < away < timedelta(seconds=11)


@pytest.mark.django_db
def test_nobody_is_judged_while_no_server_listens_and_what_was_missed_then_is_excused(
    acme: Fleet,
) -> None:
    listening_note()
    move_back(80_000)
    heard_ago(acme, 100)

    presence_sweep()
    assert state_of(acme) == "online"

    listening_note()
    presence_sweep()
    assert state_of(acme) == "online"


@pytest.mark.django_db
def test_silence_counts_while_a_server_listens(acme: Fleet) -> None:
    listening_note()
    heard_ago(acme, 100)

    presence_sweep()

    assert state_of(acme) == "late"


@pytest.mark.django_db
def test_a_server_that_was_removed_holds_nobody_up(acme: Fleet) -> None:
    listening_note()
    move_back(int(HOLD_MAX.total_seconds()) * 1000)
    heard_ago(acme, 100)

    presence_sweep()

    assert state_of(acme) == "late"


@pytest.mark.django_db
def test_health_says_that_no_server_listens_any_more(client: Client) -> None:
    PresenceSweep.objects.create(swept_at=timezone.now())
    listening_note()
    assert client.get("/health").json()["ingest"] == "ok"

    move_back(11_000)

    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["ingest"] == "degraded"


def alarms(fleet: Fleet) -> list[str]:
    content = client_of(fleet.manager).get("/admin/").content.decode()
    return re.findall(r'<p class="rc-alarm" role="alert">(.*?)</p>', content)


@pytest.mark.django_db
def test_the_first_page_says_that_no_server_listens_and_since_when(acme: Fleet) -> None:
    PresenceSweep.objects.create(swept_at=timezone.now())
    listening_note()
    assert alarms(acme) == []

    move_back(11_000)

    door = listening()
    assert door is not None
    (alarm,) = alarms(acme)
    assert f"no ingest server has been listening since {door.at:%Y-%m-%d %H:%M:%S} UTC" in alarm


@pytest.mark.django_db
def test_the_first_page_says_that_valkey_is_away(acme: Fleet) -> None:
    PresenceSweep.objects.create(swept_at=timezone.now())
    valkey.connection.cache_clear()
    with override_settings(VALKEY_URL="redis://127.0.0.1:1/0"):
        (alarm,) = alarms(acme)
    valkey.connection.cache_clear()

    assert "Valkey is unavailable" in alarm
