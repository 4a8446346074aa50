"""Settings of Valkey with which it would forget accepted messages."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import RequestFactory
from django.utils import timezone

from config.health import CHECKS, valkey_settings_check
from devices import valkey
from ingest.stream import nodes
from monitoring.system import valkey_settings
from monitoring.system.health import Finding, Health, health_view
from monitoring.system.valkey_settings import SettingsCheck
from telemetry.models import PresenceSweep

pytestmark = pytest.mark.usefixtures("db", "valkey")
WRONG = [
    ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ("maxmemory-policy", "volatile-ttl", "noeviction"),
    ("appendonly", "no", "yes"),
    ("appendfsync", "everysec", "always"),
    ("appendfsync", "no", "always"),
]


@contextmanager
def configured(name: str, value: str) -> Iterator[None]:
    client = valkey.connection()
    before: Any = client.config_get(name)
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, before[name])


@pytest.fixture
def limited() -> Iterator[redis.Redis]:
    """A client that may not use CONFIG."""
    client: Any = valkey.connection()
    client.acl_setuser(
        "limited", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-config"]
    )
    arguments = client.connection_pool.connection_kwargs
    yield redis.Redis(
        host=arguments["host"], port=arguments["port"], username="limited", password="secret"
    )
    client.acl_deluser("limited")


def told(rf: RequestFactory, check: Any = None) -> dict[str, Any]:
    PresenceSweep.objects.create(swept_at=timezone.now())
    checks = {**CHECKS, "valkey_settings": check or valkey_settings_check()}
    answer = health_view(checks)(rf.get("/health"))
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.content)
    return found


def finding(*streams: redis.Redis, others: tuple[redis.Redis, ...] = ()) -> Finding:
    return SettingsCheck(streams=lambda: streams, others=lambda: others).finding()


@pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
def test_health_is_degraded_and_says_how_to_mend_it(
    rf: RequestFactory, name: str, value: str, wanted: str
) -> None:
    with configured(name, value):
        found = told(rf)

    assert (found["status"], found["valkey_settings"]) == ("degraded", "degraded")
    why = found["why"]["valkey_settings"]
    assert f"{name} is {value}. Run `valkey-cli config set {name} {wanted}`" in why
    assert why.startswith("The Valkey at VALKEY_URL ")
    assert told(rf)["valkey_settings"] == "ok"


def test_servers_are_asked_once_a_minute(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(valkey_settings, "monotonic", lambda: clock[0])
    check = valkey_settings_check()
    assert told(rf, check)["valkey_settings"] == "ok"

    with configured("appendfsync", "everysec"):
        clock[0] += 59
        assert told(rf, check)["valkey_settings"] == "ok"
        clock[0] += 2
        assert told(rf, check)["valkey_settings"] == "degraded"
    clock[0] += 61
    assert told(rf, check)["valkey_settings"] == "ok"


def test_what_cannot_be_read_is_said(limited: redis.Redis) -> None:
    found = finding(limited)

    assert found.health == Health.OK
    assert "Make sure that appendfsync is always." in found.why
    for name, value, wanted in WRONG[:3]:
        with configured(name, value):
            found = finding(limited)
        assert found.health == Health.DEGRADED
        assert f"config set {name} {wanted}" in found.why
    valkey.connection().acl_setuser("limited", commands=["-info"])
    assert "maxmemory-policy is noeviction and appendonly is yes and" in finding(limited).why


def test_a_server_that_holds_no_messages_may_forget_but_not_evict() -> None:
    own = valkey.connection()
    with configured("appendfsync", "everysec"):
        assert finding(others=(own,)) == Finding()
        assert finding(own).health == Health.DEGRADED
    with configured("maxmemory-policy", "allkeys-lru"):
        assert "The Valkey at VALKEY_URL evicts" in finding(others=(own,)).why


def test_a_server_that_does_not_answer_is_left_to_other_checks(limited: redis.Redis) -> None:
    gone = redis.Redis(port=1)

    assert finding(gone) == Finding()
    with configured("appendonly", "no"):
        assert "INGEST_STREAM_URL forgets" in finding(gone, limited).why


def test_the_streams_servers_are_those_of_its_address() -> None:
    (client,) = nodes.clients()

    assert settings.INGEST_STREAM_URL.endswith("/1")
    assert client.ping()
