from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from django.db import OperationalError

from devices.fleet.keys import FoundKeys, Speaker, credential_issue, credentials_revoke, keys_find
from ingest.door import authentication
from ingest.door.authentication import KeyCache
from tests.conftest import Fleet


class Database:
    """Sits between the cache and the real look-up, counts look-ups, and can be unavailable."""

    def __init__(self) -> None:
        self.asked = 0
        self.asked_last: Sequence[str] = ()
        self.away = False
        self.on_asked: Callable[[], None] | None = None

    def keys_find(self, keys: Sequence[str]) -> FoundKeys:
        self.asked += 1
        self.asked_last = keys
        if self.on_asked:
            self.on_asked()
        if self.away:
            raise OperationalError("away")
        return keys_find(keys)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(authentication, "keys_find", database.keys_find)
    return database


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(authentication, "monotonic", lambda: now[0])
    return now


def test_a_good_key_is_looked_up_once_a_few_seconds(
    acme: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    for _ in range(3):
        device = cache.speaker(acme.key)
        assert device is not None and device.id == acme.device.pk
    assert database.asked == 1

    clock[0] += 5
    cache.speaker(acme.key)
    assert database.asked == 2


def test_keys_in_use_are_checked_together(
    acme: Fleet, rival: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    for key in (acme.key, rival.key, acme.key, rival.key):
        cache.speaker(key)
    assert database.asked == 2

    for second in range(1, 11):
        clock[0] += 2
        for fleet in (acme, rival):
            speaker = cache.speaker(fleet.key)
            assert speaker is not None and speaker.id == fleet.device.pk
        assert database.asked == 2 + second // 2


def test_a_key_that_is_checked_with_others_is_refused_once_it_is_revoked(
    acme: Fleet, rival: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    issued = credential_issue(device=acme.device)
    for key in (rival.key, issued.key, issued.key):
        cache.speaker(key)
    credentials_revoke(ids=[issued.credential.pk], ts=datetime.now(UTC))

    clock[0] += 3
    assert cache.speaker(rival.key) is not None
    assert database.asked == 3
    assert cache.speaker(issued.key) is None


def test_keys_of_devices_that_speak_seldom_are_checked_together_too(
    acme: Fleet, rival: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    for minute in range(5):
        assert cache.speaker(acme.key) is not None
        clock[0] += 1
        assert cache.speaker(rival.key) is not None
        assert database.asked == 2 + minute
        clock[0] += 59


def test_a_key_that_falls_silent_is_checked_with_others_once(
    acme: Fleet, rival: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    for key in (acme.key, rival.key):
        cache.speaker(key)

    clock[0] += 60
    cache.speaker(rival.key)
    assert set(database.asked_last) == {acme.key, rival.key}
    clock[0] += 60
    cache.speaker(rival.key)
    assert set(database.asked_last) == {rival.key}


def test_unknown_keys_are_asked_for_each_time(
    acme: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    assert cache.speaker("rc_aaaaaaaaaa_x") is None
    assert cache.speaker("rc_aaaaaaaaaa_x") is None
    assert database.asked == 2


def test_known_keys_are_trusted_while_the_database_is_away_without_asking_each_time(
    acme: Fleet, rival: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    cache.speaker(acme.key)
    database.away = True
    clock[0] += 60
    for _ in range(5):
        assert cache.speaker(acme.key) is not None
    assert database.asked == 2
    with pytest.raises(OperationalError):
        cache.speaker(rival.key)

    clock[0] += 600
    with pytest.raises(OperationalError):
        cache.speaker(acme.key)


def test_only_one_asks_whether_the_database_is_back(
    acme: Fleet, database: Database, clock: list[float]
) -> None:
    cache = KeyCache()
    cache.speaker(acme.key)
    database.away = True
    clock[0] += 60
    cache.speaker(acme.key)
    clock[0] += 2
    asked = database.asked
    answers: list[Speaker | None] = []

    def ask_another_time() -> None:
        database.on_asked = None
        answers.append(cache.speaker(acme.key))

    database.on_asked = ask_another_time
    assert cache.speaker(acme.key) is not None
    assert answers != [None]
    assert database.asked == asked + 1

    database.away = False
    clock[0] += 2
    assert cache.speaker(acme.key) is not None
    clock[0] += 5
    assert cache.speaker(acme.key) is not None
    assert database.asked == asked + 3
