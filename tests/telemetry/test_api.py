"""What was said, read over the API: by whom it may be, in whatever shape, however it is asked."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from devices.http.quotas import Quota
from devices.models import Device
from devices.tenancy.access import Role
from devices.tenancy.scope import open_tenant_ids, tenant_scope
from telemetry.api import exports, summary, timeouts
from telemetry.api.formats import cell
from telemetry.presence.pausing import presence_pause, presence_resume
from telemetry.sql import reading_history
from telemetry.sql.reading_history import Window
from tests.admin import SCOPE_QUERIES, person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, device_of, member, send
from tests.ingest.way import append, drain, now, reading
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.past import moment, moments, store
from tests.telemetry.storing import heartbeats_store

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

NDJSON = "devices/acme-phone/readings?format=ndjson"

FILL = """
INSERT INTO telemetry_reading (device_id, tenant_id, time, received_at, msg_type, metrics)
SELECT %s, %s, now() - n * interval '10 ms', now(), 'x', '{"a": 1}'
FROM generate_series(1, 20000) n
"""


def beat(device: Device, received_at: datetime, battery_pct: float | None = None) -> None:
    heartbeats_store(
        heartbeats=[heartbeat(device, received_at, address="10.0.0.7", battery_pct=battery_pct)]
    )


def pages(client: Any, path: str) -> list[Any]:
    """All results, page by page."""
    found: list[Any] = []
    following: str | None = f"/api/v1/{path}"
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.content
        found += answer.json()["results"]
        following = answer.json()["next"]
    return found


def body(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content).decode()


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


def test_status_tells_the_state_the_reason_and_the_latest_values(acme: Fleet) -> None:
    seen = moment(5)
    beat(acme.device, seen, 77)
    store(acme.device, seen + timedelta(seconds=1), {"temp_c": 21.5, "door": True, "note": "ok"})

    answer = send(member(acme, Role.VIEWER), "get", "devices/acme-phone/status")

    told = answer.json()
    assert told["tenant"] == "acme"
    assert told["device_id"] == "acme-phone"
    assert told["state"] == "online"
    assert told["reason"] == "first heartbeat, from 10.0.0.7, battery 77 %"
    assert datetime.fromisoformat(told["since"]) == seen
    assert told["battery_pct"] == 77
    assert told["metrics"] == {"temp_c": 21.5, "door": True, "note": "ok"}
    assert told["clock_skew_s"] == 0
    again = send(
        member(acme, Role.MANAGER),
        "get",
        "devices/acme-phone/status",
        HTTP_IF_NONE_MATCH=answer["ETag"],
    )
    assert again.status_code == 304


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

    def test_presence_comes_newest_first_with_how_long_it_lasted(self, acme: Fleet) -> None:
        start = moment(100)
        for n in range(4):
            act = presence_resume if n % 2 else presence_pause
            why = {} if n % 2 else {"why": "paint"}
            act(device_ids=[acme.device.pk], by="ann", ts=start + timedelta(seconds=n), **why)

        found = pages(member(acme, Role.VIEWER), "devices/acme-phone/presence?limit=1")

        assert [one["state"] for one in found] == ["new", "paused"] * 2
        assert [one["lasted_s"] for one in found] == [None, 1, 1, 1]
        assert found[1]["reason"] == "paused by ann: paint"

    def test_heartbeats_come_newest_first(self, acme: Fleet) -> None:
        for n in range(5):
            beat(acme.device, moment(60 * n + 1), n)
        found = pages(member(acme, Role.VIEWER), "devices/acme-phone/heartbeats?limit=2&hours=1")
        assert [one["battery_pct"] for one in found] == [0, 1, 2, 3, 4]
        assert found[0]["address"] == "10.0.0.7"

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
        # Who asks, what that person may see, the scope, the device, for how long, and its readings.
        assert len(queries) <= SCOPE_QUERIES + 5


class TestBuckets:
    @pytest.fixture
    def measured(self, acme: Fleet) -> str:
        """Three minutes, the middle one without a number of temp_c."""
        start = datetime(2026, 6, 1, 12, tzinfo=UTC)
        for second, metrics in (
            (0, {"temp_c": 10, "on": True}),
            (59, {"temp_c": 20}),
            (60, {"temp_c": "broken", "load": 1e308}),
            (61, {"load": 1e308}),
            (120, {"temp_c": -1.5}),
        ):
            store(acme.device, start + timedelta(seconds=second), metrics)
        return "start=2026-06-01T12:00:00Z&end=2026-06-01T12:03:00Z&bucket=1m"

    def results(self, acme: Fleet, query: str) -> list[tuple[Any, ...]]:
        answer = send(member(acme, Role.VIEWER), "get", f"devices/acme-phone/readings?{query}")
        assert answer.status_code == 200, answer.content
        assert answer.json()["bucket_s"] == 60
        return [
            (one["metric"], one["time"][14:16], *map(one.get, ("count", "avg", "min", "max")))
            for one in answer.json()["results"]
        ]

    def test_have_the_figures_of_the_numbers(self, acme: Fleet, measured: str) -> None:
        assert self.results(acme, measured) == [
            ("load", "01", 2, 1e308, 1e308, 1e308),
            ("temp_c", "00", 2, 15, 10, 20),
            ("temp_c", "02", 1, -1.5, -1.5, -1.5),
        ]

    def test_are_filled_with_null_if_asked(self, acme: Fleet, measured: str) -> None:
        none = (0, None, None, None)
        assert self.results(acme, f"{measured}&fill=1&metric=temp_c&metric=other") == [
            *(("other", minute, *none) for minute in ("00", "01", "02")),
            ("temp_c", "00", 2, 15, 10, 20),
            ("temp_c", "01", *none),
            ("temp_c", "02", 1, -1.5, -1.5, -1.5),
        ]

    @pytest.mark.django_db(transaction=True)
    def test_are_a_file_too(self, acme: Fleet, measured: str) -> None:
        path = f"devices/acme-phone/readings?{measured}&metric=temp_c&format="
        client = member(acme, Role.VIEWER)
        rows = list(csv.reader(io.StringIO(body(send(client, "get", f"{path}csv")))))
        assert rows[0] == ["time", "metric", "count", "avg", "min", "max"]
        assert rows[1][1:] == ["temp_c", "2", "15.0", "10.0", "20.0"]
        lines = body(send(client, "get", f"{path}ndjson")).splitlines()
        assert json.loads(lines[1])["avg"] == -1.5


def test_what_takes_too_long_is_given_up_in_words(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "TIMEOUT_S", 0.001)
    with connection.cursor() as cursor:
        cursor.execute(FILL, [acme.device.pk, acme.tenant.pk])
    answer = send(member(acme, Role.VIEWER), "get", "devices/acme-phone/readings?bucket=1m")
    assert "shorter period" in assert_problem(answer, 400)["errors"][0]["reason"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("hours=0", "hours"),
        ("hours=-1", "hours"),
        ("hours=745", "hours"),
        ("hours=NaN", "hours"),
        ("hours=", "hours"),
        ("bucket=", "bucket"),
        ("start=", "start"),
        ("hours=1e3", "hours"),
        ("hours=99999999999999999999", "hours"),
        ("hours=1;DROP TABLE devices_device", "hours"),
        ("hours=%00", "hours"),
        ("hours=1&start=2026-06-01T12:00:00Z", "hours"),
        ("start=2026-06-02&end=2026-06-01T00:00:00Z", "start"),
        ("start=2026-06-02T00:00:00Z&end=2026-06-01T00:00:00Z", "start"),
        ("start=2026-06-02T00:00:00Z&end=2026-06-02T00:00:00Z", "start"),
        ("start=2020-01-01T00:00:00Z&end=2026-01-01T00:00:00Z", "start"),
        ("start=0001-01-01T00:00:00%2B14:00", "start"),
        ("start=0001-01-01T00:00:00Z&end=0001-01-02T00:00:00Z", "start"),
        ("start=1969-12-31T00:00:00Z&end=1970-01-05T00:00:00Z", "start"),
        ("start=yesterday", "start"),
        ("start=%00", "start"),
        ("start=2026-06-01 12:00:00 01:00:00", "start"),
        ("start=2026-06-01T12:00:00 01:00:00", "start"),
        ("start=2026-06-01T12:00:00 25:00", "start"),
        ("start=2026-06-01T12:00:00 ", "start"),
        ("end=2026-06-01T00:00:00Z", "start"),
        ("bucket=0", "bucket"),
        ("bucket=0s", "bucket"),
        ("bucket=-5m", "bucket"),
        ("bucket=5", "bucket"),
        ("bucket=NaNs", "bucket"),
        ("bucket=1 s", "bucket"),
        ("bucket=%D9%A5m", "bucket"),
        ("bucket=1s&hours=2", "bucket"),
        ("bucket=1s%00", "bucket"),
        ("bucket=32d&fill=1", "bucket"),
        ("bucket=9999999d&fill=1", "bucket"),
        ("fill=1", "fill"),
        ("bucket=1m&fill=perhaps", "fill"),
        ("metric=", "metric"),
        ("metric=%00", "metric"),
        ("metric=" + "x" * 65, "metric"),
        ("&".join(f"metric={n}" for n in range(21)), "metric"),
        ("limit=0", "limit"),
        ("limit=5001", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A3", "limit"),
        ("format=xml", "format"),
        (
            "bucket=1m&hours=72&" + "&".join(f"metric={n}" for n in range(20)),
            "bucket",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_in_words(query: str, field: str, acme: Fleet) -> None:
    answer = send(member(acme, Role.VIEWER), "get", f"devices/acme-phone/readings?{query}")
    problem = assert_problem(answer, 400)
    assert problem["errors"][0]["field"].partition(".")[0] == field
    assert all(one["reason"] for one in problem["errors"])


@pytest.mark.parametrize("path", ["readings", "heartbeats"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-06-01T12:00:00+01:00", "2026-06-01T11:00:00Z"),
        ("2026-06-01T12:00+0130", "2026-06-01T10:30:00Z"),
        ("2026-06-01T12:00:00%2B01:00", "2026-06-01T11:00:00Z"),
        ("2026-06-01T12:00:00-01:00", "2026-06-01T13:00:00Z"),
        ("2026-06-01 12:00", "2026-06-01T12:00:00Z"),
    ],
)
def test_a_plus_in_a_time_is_taken_as_it_is_written(
    path: str, written: str, meant: str, acme: Fleet
) -> None:
    asked = f"devices/acme-phone/{path}?start={written}&end=2026-06-02T12:00:00+00:00"
    answer = send(member(acme, Role.VIEWER), "get", asked)
    assert (answer.json()["start"], answer.json()["end"]) == (meant, "2026-06-02T12:00:00Z")


@pytest.mark.parametrize("path", ["readings", "readings?bucket=31d&fill=1", "heartbeats"])
@pytest.mark.parametrize(
    "span",
    [
        ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
        ("9999-12-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_the_ends_of_time_are_empty(path: str, span: tuple[str, str], acme: Fleet) -> None:
    mark = "&" if "?" in path else "?"
    start, end = span
    query = f"{path}{mark}start={start}&end={end}"
    answer = send(member(acme, Role.VIEWER), "get", f"devices/acme-phone/{query}")
    assert answer.status_code == 200, answer.content
    assert not any(one.get("count") for one in answer.json()["results"])


@pytest.mark.parametrize(
    "name", ["' OR 1=1 --", "%s", "%(device_id)s", "a{b}", "\\", "\r\nSet-Cookie: a=b"]
)
def test_a_metric_may_have_any_name_and_stays_a_name(name: str, acme: Fleet) -> None:
    store(acme.device, moment(5), {name: 1, "other": 2})
    client = member(acme, Role.VIEWER)
    asked = quote(name)
    for query in (f"metric={asked}", f"metric={asked}&bucket=1h&fill=1"):
        answer = send(client, "get", f"devices/acme-phone/readings?{query}")
        assert answer.status_code == 200
        assert "other" not in answer.content.decode()
        assert answer.json()["results"]


@pytest.mark.django_db(transaction=True)
class TestFiles:
    def test_csv_has_a_column_for_each_metric_and_no_formulas(self, acme: Fleet) -> None:
        store(acme.device, moment(20), {"temp_c": -1.5, "=cmd": "=1+1", "text": "+2"})
        store(acme.device, moment(10), {"on": True, "text": "@a", "tab": "\tb"})
        answer = send(member(acme, Role.VIEWER), "get", "devices/acme-phone/readings?format=csv")

        rows = list(csv.reader(io.StringIO(body(answer))))

        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        columns = ["time", "received_at", "msg_type", "seq", "site"]
        assert rows[0] == [*columns, "metrics.=cmd", "on", "tab", "temp_c", "text"]
        assert rows[1][2:] == ["telemetry", "", "hall", "'=1+1", "", "", "-1.5", "'+2"]
        assert rows[2][5:] == ["", "true", "'\tb", "", "'@a"]

    def test_no_two_columns_of_csv_have_the_same_name_for_a_formula(self, acme: Fleet) -> None:
        metrics = {"=x": 1, "'=x": 2, "metrics.=x": 3, "'metrics.=x": 4}
        store(acme.device, moment(), metrics)
        client = member(acme, Role.VIEWER)
        answer = send(client, "get", "devices/acme-phone/readings?format=csv")
        names, cells = csv.reader(io.StringIO(body(answer)))
        row = dict(zip(names, cells, strict=True))
        assert len(row) == len(names)
        assert (row["metrics.=x"], row["'=x"]) == ("1", "2")
        assert (row["metrics.metrics.=x"], row["'metrics.=x"]) == ("3", "4")
        path = "devices/acme-phone/readings?bucket=1h&format="
        header, *buckets = csv.reader(io.StringIO(body(send(client, "get", f"{path}csv"))))
        assert sorted(one[header.index("metric")] for one in buckets) == sorted(names[5:])
        lines = body(send(client, "get", f"{path}ndjson")).splitlines()
        assert {json.loads(one)["metric"] for one in lines} == {*metrics}

    def test_no_two_columns_of_csv_have_the_same_name(self, acme: Fleet) -> None:
        store(acme.device, moment(), {"seq": 1, "metrics.seq": 2, "metrics.temp_c": 3, "temp_c": 4})
        client = member(acme, Role.VIEWER)
        for query in ("", "&metric=seq&metric=metrics.seq&metric=seq&metric=temp_c"):
            path = f"devices/acme-phone/readings?format=csv{query}"
            names, cells = csv.reader(io.StringIO(body(send(client, "get", path))))
            row = dict(zip(names, cells, strict=True))
            assert len(row) == len(names)
            assert (row["seq"], row["metrics.seq"], row["metrics.metrics.seq"]) == ("", "1", "2")
            assert row["temp_c"] == "4"

    @pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "＝1", "＠a"])
    def test_text_that_spreadsheets_compute_is_marked(self, text: str) -> None:
        assert cell(text) == f"'{text}"

    def test_ndjson_comes_by_accept_too_oldest_first(self, acme: Fleet) -> None:
        for n, time in enumerate(moments(3)):
            store(acme.device, time, {"n": n})
        answer = send(
            member(acme, Role.VIEWER),
            "get",
            "devices/acme-phone/readings",
            HTTP_ACCEPT="application/x-ndjson",
        )
        lines = [json.loads(line) for line in body(answer).splitlines()]
        assert [one["metrics"]["n"] for one in lines] == [2, 1, 0]

    def test_the_name_of_the_file_is_of_what_was_asked(self, acme: Fleet) -> None:
        device = device_of(acme.tenant, "a:b@c")
        answer = send(
            member(acme, Role.VIEWER),
            "get",
            f"devices/{device.device_id}/readings?format=csv&start=2026-06-01T00:00:00Z"
            "&end=2026-06-02T00:00:00Z",
        )
        body(answer)
        name = "readings-a:b@c-20260601T000000Z-20260602T000000Z.csv"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'

    def test_more_metrics_than_columns_have_to_be_named(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at = moment()
        for n in range(4):
            store(acme.device, at - timedelta(seconds=n), {f"m{n}-{k}": 1 for k in range(60)})
        client = member(acme, Role.VIEWER)
        problem = assert_problem(send(client, "get", "devices/acme-phone/readings?format=csv"), 400)
        assert "name those you want" in problem["errors"][0]["reason"]

    def test_a_file_is_read_within_the_scope_and_has_its_length(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scopes: list[frozenset[int] | None] = []

        def whole(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            try:
                yield from real_whole(cursor, window, rows_at_once=rows_at_once)
            finally:
                scopes.append(open_tenant_ids())

        real_whole = reading_history.whole
        monkeypatch.setattr(reading_history, "whole", whole)
        store(acme.device, moment(), {"temp_c": 1})

        answer = send(member(acme, Role.VIEWER), "get", NDJSON)

        assert scopes == [frozenset([acme.tenant.pk])]
        assert int(answer["Content-Length"]) == len(body(answer)) > 0

    def test_as_many_as_a_person_has_not_read_may_be_asked_for(self, acme: Fleet) -> None:
        client, other = member(acme, Role.VIEWER), member(acme, Role.OWNER)
        unread = [send(client, "get", NDJSON) for _ in range(exports.OF_ONE_PERSON)]
        refused = send(client, "get", NDJSON)
        assert "You have 2 exports" in assert_problem(refused, 429)["detail"]
        assert refused["Retry-After"] == "10"
        assert send(other, "get", NDJSON).status_code == 200
        unread[0].close()
        assert send(client, "get", NDJSON).status_code == 200

    def test_so_many_are_made_at_once_and_one_more_is_a_warning(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(exports, "_made", Quota(1))
        store(acme.device, moment(), {"temp_c": 1})
        client, answers = member(acme, Role.OWNER), []

        def whole(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            answers.append(send(client, "get", NDJSON))
            yield from ()

        monkeypatch.setattr(reading_history, "whole", whole)
        assert send(member(acme, Role.VIEWER), "get", NDJSON).status_code == 200
        assert [one.status_code for one in answers] == [503]
        (line,) = [one for one in caplog.records if getattr(one, "status_code", None) == 503]
        assert (line.levelname, line.exc_info) == ("WARNING", None)
        assert line.getMessage().endswith(
            "/readings: Other exports are being made just now; try again in some seconds."
        )

    @pytest.mark.parametrize("kind", ["csv", "csv&metric=temp_c", "ndjson"])
    def test_one_that_takes_too_long_to_read_is_given_up_in_words(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        def slow(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            cursor.execute("SELECT pg_sleep(60)")
            yield cursor.fetchmany(1)

        monkeypatch.setattr(timeouts, "TIMEOUT_S", 1)
        monkeypatch.setattr(reading_history, "whole", slow)
        path = f"devices/acme-phone/readings?format={kind}"
        problem = assert_problem(send(member(acme, Role.VIEWER), "get", path), 400)
        assert "This takes longer than 1 s" in problem["errors"][0]["reason"]

    def test_one_that_cannot_be_made_whole_is_an_error_and_leaves_its_place(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            yield from real_whole(cursor, window, rows_at_once=rows_at_once)
            raise OperationalError("the database went away")

        def full() -> IO[bytes]:
            return open("/dev/full", "wb")

        real_whole = reading_history.whole
        store(acme.device, moment(), {"temp_c": 1})
        client = member(acme, Role.VIEWER)
        for target, name, put, code, words in (
            (reading_history, "whole", broken, 503, "database cannot be reached"),
            (exports, "TemporaryFile", full, 503, "no room for this file"),
            (exports, "MAX_BYTES", 10, 400, "Some fields"),
            (exports, "MAX_S", -1, 400, "Some fields"),
        ):
            with monkeypatch.context() as machine:
                machine.setattr(target, name, put)
                for _ in range(exports.OF_ONE_PERSON + 1):
                    assert words in assert_problem(send(client, "get", NDJSON), code)["detail"]
        assert body(send(client, "get", NDJSON))


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
            time = at - timedelta(seconds=n)
            append(acme, reading(acme.device, time, b'{"temp_c": %s}' % value))
        append(rival, reading(rival.device, at, b'{"temp_c": 1000}'))
        drain()

        told = send(member(acme, Role.VIEWER), "get", "telemetry/summary?hours=2").json()

        assert told["hours"] == 2
        states = {"new": 1, "online": 1, "late": 0, "offline": 0, "paused": 0}
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
        ["hours=0", "hours=-1", "hours=745", "hours=x", "hours=", "tenant=%00", "tenant="],
    )
    def test_refuses_what_it_cannot_tell(self, query: str, acme: Fleet) -> None:
        problem = assert_problem(
            send(member(acme, Role.VIEWER), "get", f"telemetry/summary?{query}"), 400
        )
        assert problem["errors"][0]["field"] == query.partition("=")[0]
