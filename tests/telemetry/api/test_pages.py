"""Lists of messages, page by page, and who may request them."""

import re
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.tenancy.access import Role
from devices.tenancy.scope import tenant_scope
from telemetry.presence.pausing import presence_pause
from telemetry.sql import reading_history
from telemetry.sql.reading_history import Window
from tests.admin import SCOPE_QUERIES, person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, device_of, member, send
from tests.telemetry.api.telling import beat, pages
from tests.telemetry.api.test_exports import FILL
from tests.telemetry.past import moment, store

PATHS = (
    "devices/acme-phone/status",
    "devices/acme-phone/readings",
    "devices/acme-phone/readings?bucket=5m",
    "devices/acme-phone/readings?format=csv",
    "devices/acme-phone/readings?format=ndjson",
    "devices/acme-phone/presence",
    "devices/acme-phone/heartbeats",
    "telemetry/summary?tenant=acme",
)


class TestWhoMayAsk:
    @pytest.mark.parametrize("path", PATHS)
    def test_an_outsider_finds_nothing(self, path: str, acme: Fleet, rival: Fleet) -> None:
        store(acme.device, moment(10), {"temp_c": 1})
        assert_problem(send(member(rival, Role.OWNER), "get", path), 404)
        assert_problem(send(caller(None), "get", path), 401)

    def test_a_device_of_two_tenants_has_to_be_told_apart(self, acme: Fleet, rival: Fleet) -> None:
        for fleet in (acme, rival):
            store(device_of(fleet.tenant, "twin"), moment(10), {"of": fleet.tenant.slug})
        both = caller(person("both", (acme.tenant, Role.VIEWER), (rival.tenant, Role.VIEWER)))
        problem = assert_problem(send(both, "get", "devices/twin/readings"), 409)
        assert "acme, rival" in problem["detail"]
        answer = send(both, "get", "devices/twin/readings?tenant=rival")
        assert [one["metrics"] for one in answer.json()["results"]] == [{"of": "rival"}]

    def test_an_operator_reads_all(self, acme: Fleet, operator: User) -> None:
        store(acme.device, moment(10), {"temp_c": 1})
        (one,) = send(caller(operator), "get", "devices/acme-phone/readings").json()["results"]
        assert one["metrics"] == {"temp_c": 1}


class TestPages:
    def test_readings_come_newest_first_and_each_once(self, acme: Fleet) -> None:
        times = [moment(600 * n + 5) for n in range(20)]
        for time in times:
            for kind in ("a", "b"):
                store(acme.device, time, {"n": 1}, kind)
        client = member(acme, Role.VIEWER)

        found = pages(client, "devices/acme-phone/readings?hours=3&limit=3")

        keys = [(datetime.fromisoformat(one["time"]), one["msg_type"]) for one in found]
        within = [time for time in times if time > moment(3 * 3600)]
        assert keys == [(time, kind) for time in within for kind in ("b", "a")]
        assert found[0]["site"] == "hall"

    def test_no_more_readings_are_read_than_a_page_has(self, acme: Fleet) -> None:
        values = Window(acme.device.pk, moment(3600), moment()).bound(limit=10)
        with connection.cursor() as cursor:
            cursor.execute(FILL, [acme.device.pk, acme.tenant.pk])
            with tenant_scope(tenant_ids=[acme.tenant.pk]):
                cursor.execute(f"EXPLAIN (ANALYZE) {reading_history.PAGE}", values)
                plan = "\n".join(row[0] for row in cursor.fetchall())
        (read,) = re.findall(r"Index Scan Backward using .* rows=(\d+) loops=1", plan)
        assert int(read) == 10
        assert "Sort" not in plan

    def test_only_the_metrics_named(self, acme: Fleet) -> None:
        store(acme.device, moment(30), {"temp_c": 1, "humidity_pct": 2})
        store(acme.device, moment(20), {"humidity_pct": 3})
        client = member(acme, Role.VIEWER)
        answer = send(client, "get", "devices/acme-phone/readings?metric=temp_c&metric=none")
        assert [one["metrics"] for one in answer.json()["results"]] == [{"temp_c": 1}]

    @pytest.mark.parametrize("start", ["2026-06-01T12:00:00Z", "2026-06-01T12:00:00"])
    def test_a_period_has_its_first_moment_and_not_its_last(self, acme: Fleet, start: str) -> None:
        for n in range(3):
            store(acme.device, datetime(2026, 6, 1, 12, n, tzinfo=UTC), {"n": n})
        client = member(acme, Role.VIEWER)
        answer = send(
            client,
            "get",
            f"devices/acme-phone/readings?start={start}&end={quote('2026-06-01T14:02:00+02:00')}",
        )
        assert [one["metrics"]["n"] for one in answer.json()["results"]] == [1, 0]

    @pytest.mark.parametrize("what", ["readings", "presence", "heartbeats"])
    def test_a_cursor_is_of_one_list_and_cannot_be_made_up(
        self, what: str, acme: Fleet, rival: Fleet
    ) -> None:
        other = device_of(acme.tenant, "other")
        for n in range(3):
            store(acme.device, moment(30 * n + 1), {"n": n})
            beat(acme.device, moment(30 * n + 1))
        presence_pause(device_ids=[acme.device.pk], by="ann", why="", ts=moment())
        client = member(acme, Role.VIEWER)
        following = send(client, "get", f"devices/acme-phone/{what}?limit=1").json()["next"]
        cursor = following.partition("cursor=")[2].partition("&")[0]
        forged = f"{cursor[:-1]}{'A' if cursor[-1] != 'A' else 'B'}"
        for path in (
            f"devices/{other.device_id}/{what}?cursor={cursor}",
            f"devices/acme-phone/{what}?cursor={forged}",
            f"devices/acme-phone/{what}?cursor=1",
        ):
            problem = assert_problem(send(client, "get", path), 404)
            assert problem["errors"][0]["field"] == "cursor"
        assert_problem(send(client, "get", f"devices/acme-phone/{what}?cursor=%00"), 400)

    def test_a_page_takes_few_queries(self, acme: Fleet) -> None:
        store(acme.device, moment(10), {"n": 1})
        client = member(acme, Role.VIEWER)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            send(client, "get", "devices/acme-phone/readings?hours=1&limit=1")
        # The person, their access, the scope, the device, the period, and the readings.
        assert len(queries) <= SCOPE_QUERIES + 5
