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
