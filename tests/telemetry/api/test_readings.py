"""Readings over the API, in buckets and by whatever name a metric has."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import member, send
from tests.telemetry.api.telling import body
from tests.telemetry.past import moment, store


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


class TestDaysOfATimeZone:
    """The days around the 25-hour day on which clocks in Berlin are set back, 2026-10-25."""

    QUERY = "start=2026-10-24&end=2026-10-27&tz=Europe/Berlin&bucket=1d"

    @pytest.fixture
    def measured(self, acme: Fleet) -> None:
        for time, value in (
            ("2026-10-23T21:59:59Z", 1000),  # the evening before, in Berlin
            ("2026-10-23T22:00:00Z", 1),
            ("2026-10-24T21:59:59Z", 3),
            ("2026-10-24T22:00:00Z", 10),
            ("2026-10-25T22:59:59Z", 30),
            ("2026-10-26T22:59:59Z", 100),
            ("2026-10-26T23:00:00Z", 1000),  # the morning after
        ):
            store(acme.device, datetime.fromisoformat(time), {"temp_c": value})

    @pytest.fixture(autouse=True)
    def asks(self, acme: Fleet) -> None:
        self.viewer = member(acme, Role.VIEWER)

    def ask(self, query: str, path: str = "devices/acme-phone/readings") -> Any:
        answer = send(self.viewer, "get", f"{path}?{query}")
        assert answer.status_code == 200
        return answer

    def test_are_the_buckets(self, acme: Fleet, measured: None) -> None:
        told = self.ask(self.QUERY).json()

        assert (told["start"], told["end"]) == ("2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z")
        assert [(one["time"], one["count"], one["avg"]) for one in told["results"]] == [
            ("2026-10-23T22:00:00Z", 2, 2),
            ("2026-10-24T22:00:00Z", 2, 20),
            ("2026-10-25T23:00:00Z", 1, 100),
        ]

    def test_are_filled_and_may_be_several(self, acme: Fleet, measured: None) -> None:
        found = self.ask(self.QUERY.replace("27", "28") + "&fill=1").json()["results"]
        assert [one["count"] for one in found] == [2, 2, 1, 1]
        # Buckets of several days begin on the days on which they do in UTC.
        weeks = {}
        for tz in ("UTC", "Europe/Berlin"):
            query = f"start=2026-10-12&end=2026-11-02&tz={tz}&bucket=7d&fill=1"
            weeks[tz] = [one["time"] for one in self.ask(query).json()["results"]]
        assert weeks == {
            "UTC": [f"2026-10-{day}T00:00:00Z" for day in (12, 19, 26)],
            "Europe/Berlin": [f"2026-10-{day}:00:00Z" for day in ("11T22", "18T22", "25T23")],
        }

    @pytest.mark.django_db(transaction=True)
    def test_are_days_of_that_zone_in_csv(self, acme: Fleet, measured: None) -> None:
        rows = body(self.ask(f"{self.QUERY}&format=csv&bom=1"))

        assert rows.startswith("\ufefftime,metric,count,")
        times = [row.partition(",")[0] for row in rows.splitlines()[1:]]
        assert times == [
            "2026-10-24T00:00:00+02:00",
            "2026-10-25T00:00:00+02:00",
            "2026-10-26T00:00:00+01:00",
        ]
        whole = body(self.ask(self.QUERY.replace("&bucket=1d", "&format=csv")))
        assert whole.startswith("time,")
        assert whole.splitlines()[1].startswith("2026-10-24T00:00:00+02:00,")

    @pytest.mark.parametrize("path", ["readings", "heartbeats"])
    def test_bound_a_period_unless_it_names_a_zone(self, path: str, acme: Fleet) -> None:
        query = "start=2026-06-01&end=2026-06-02T12:00:00Z&tz=Asia/Kolkata"
        told = self.ask(query, f"devices/acme-phone/{path}").json()
        assert (told["start"], told["end"]) == ("2026-05-31T18:30:00Z", "2026-06-02T12:00:00Z")

    def test_leave_shorter_buckets_alone(self, acme: Fleet, measured: None) -> None:
        query = "start=2026-10-24&end=2026-10-25&tz=Asia/Kolkata&bucket=1h"
        found = self.ask(query).json()["results"]
        assert [one["time"] for one in found] == ["2026-10-23T21:00:00Z", "2026-10-23T22:00:00Z"]


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
