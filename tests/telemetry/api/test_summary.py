from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from devices.tenancy.access import Role
from telemetry.api import summary
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, device_of, member, send
from tests.ingest.way import append, drain, now, reading
from tests.telemetry.past import moment, store


@pytest.mark.usefixtures("valkey")
class TestSummary:
    @pytest.fixture(autouse=True)
    def nothing_kept(self) -> None:
        cache.clear()

    def test_has_the_fleet_and_its_figures_of_the_period(
        self, acme: Fleet, rival: Fleet, settings: Any
    ) -> None:
        settings.INGEST_SHARDS = 1
        device_of(acme.tenant, "silent")
        at = now()
        for n, value in enumerate((b"10", b"20", b"60", b'"no"')):
            sent_at = at - timedelta(seconds=n)
            append(acme, reading(acme.device, sent_at, b'{"temp_c": %s}' % value))
        append(rival, reading(rival.device, at, b'{"temp_c": 1000}'))
        drain()

        told = send(member(acme, Role.VIEWER), "get", "telemetry/summary?hours=2").json()

        assert told["hours"] == 2
        states = {"new": 1, "online": 1, "refused": 0, "late": 0, "offline": 0, "paused": 0}
        assert told["devices"] == {"total": 2, "reporting": 1, "by_state": states}
        assert told["messages"] == 4
        assert told["metrics_of"] == "readings"
        assert told["metrics"] == {"temp_c": {"devices": 1, "avg": 30, "min": 10, "max": 60}}

    def test_is_of_the_latest_readings_if_there_are_many(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(summary, "MOST_READINGS", 2)
        other = device_of(acme.tenant, "other")
        for n, device in enumerate((acme.device, acme.device, other)):
            store(device, moment(10 - n), {"temp_c": n})
        told = send(member(acme, Role.VIEWER), "get", "telemetry/summary").json()
        assert told["metrics_of"] == "latest"
        assert told["metrics"] == {"temp_c": {"devices": 2, "avg": 1.5, "min": 1, "max": 2}}

    def test_may_begin_with_a_day_of_a_time_zone(self, acme: Fleet) -> None:
        zone = ZoneInfo("Pacific/Kiritimati")
        midnight = datetime.combine(datetime.now(zone).date(), time(), zone)
        store(acme.device, midnight.astimezone(UTC), {"temp_c": 7})
        day = f"{midnight:%Y-%m-%d}"

        told = send(
            member(acme, Role.VIEWER), "get", f"telemetry/summary?start={day}&tz={zone}"
        ).json()

        assert (told["hours"], datetime.fromisoformat(told["start"])) == (None, midnight)
        assert told["metrics"]["temp_c"]["avg"] == 7

    def test_is_kept_for_some_seconds_for_the_same_tenants(
        self, acme: Fleet, rival: Fleet, operator: User
    ) -> None:
        first = send(member(acme, Role.VIEWER), "get", "telemetry/summary").json()
        store(acme.device, moment(1), {"temp_c": 1})
        assert send(member(acme, Role.OWNER), "get", "telemetry/summary").json() == first
        every = send(caller(operator), "get", "telemetry/summary").json()
        assert every["devices"]["total"] == 2
        assert every["metrics"]["temp_c"]["avg"] == 1
        narrow = send(caller(operator), "get", "telemetry/summary?tenant=rival").json()
        assert narrow["devices"]["total"] == 1

    @pytest.mark.parametrize(
        "query",
        [
            *("hours=0", "hours=-1", "hours=745", "hours=x", "hours=", "tenant=%00", "tenant="),
            *("start=2020-01-01", "start=9999-01-01", "start=x", "tz=Mars/Base", "tz="),
            "hours=1&start=2026-01-01",
        ],
    )
    def test_refuses_what_it_cannot_tell(self, query: str, acme: Fleet) -> None:
        problem = assert_problem(
            send(member(acme, Role.VIEWER), "get", f"telemetry/summary?{query}"), 400
        )
        assert problem["errors"][0]["field"] == query.partition("=")[0]
