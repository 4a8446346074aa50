"""Periods and other query parameters, accepted, or refused with an explanation."""

import pytest

from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send


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
        ("bom=1", "bom"),
        ("bom=1&format=ndjson", "bom"),
        ("bom=perhaps&format=csv", "bom"),
        *((f"tz={name}", "tz") for name in ("", "Mars/Base", "europe/berlin", "%00", "x" * 300)),
        *((f"tz={name}", "tz") for name in ("../etc/passwd", "Europe", "localtime", "+01:00")),
        ("start=0001-01-01&end=2026-06-01&tz=Asia/Kolkata", "start"),
        ("start=9999-12-31&end=9999-12-31T23:00:00Z&bucket=1d&tz=Asia/Kolkata", "tz"),
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
