"""Query parameters of lists, and how wrong ones are refused."""

from collections.abc import Iterable
from typing import Any

import pytest

from devices.models import Device, Membership
from devices.tenancy.access import Role
from telemetry.api.periods import FORMATS
from telemetry.models import PresenceState
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=1e3",
        "limit=1_0",
        "site=1_0",
        "limit=99999999999999999999",
        "limit=%00",
        "limit=%D9%A3",
        "ordering=secret_sha256",
        "ordering=tenant__name",
        "ordering=device_id;drop table",
        "ordering=%00",
        "ordering=",
        "state=on",
        "state=%00",
        "state=' or 1=1 --",
        "kind=' or 1=1 --",
        "kind=phone%00",
        "state=",
        "kind=",
        "site=",
        "pending=",
        "site=abc",
        "site=0",
        "site=99999999999999999999",
        "site=1 or 1=1",
        "site=%00",
        "pending=perhaps",
        "pending=%00",
        "tenant=%00",
        "tenant=acme%00",
        "q=%00",
        f"q={'x' * 101}",
    ],
)
def test_a_bad_query_is_a_problem_that_says_what_is_wrong(acme: Fleet, query: str) -> None:
    problem = assert_problem(send(member(acme, Role.VIEWER), "get", f"devices?{query}"), 400)
    assert problem["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "choices"),
    [
        ("get", "devices?state=open", None, PresenceState.values),
        ("get", "devices?kind=", None, Device.Kind.values),
        ("get", "devices?pending=1", None, ["true", "false"]),
        ("get", "devices/acme-phone/readings?format=xml", None, FORMATS),
        ("post", "devices", {"device_id": "d", "kind": "boat"}, Device.Kind.values),
        ("patch", "devices/acme-phone", {"kind": ""}, Device.Kind.values),
        ("post", "members", {"username": "acme-manager-1", "role": "king"}, Membership.Role.values),
    ],
)
def test_the_choices_are_told_to_who_chose_none(
    method: str, path: str, body: Any, choices: Iterable[str], acme: Fleet
) -> None:
    problem = assert_problem(send(member(acme, Role.OWNER), method, path, body), 400)
    words = f"This should be one of {', '.join(choices)}."
    assert [one["reason"] for one in problem["errors"]] == [words]


@pytest.mark.parametrize(
    "query",
    [
        "q='; drop table devices_device; --",
        "q=%25%27%20or%201=1",
        "q=\\",
        'q="unclosed',
        "q=a%0d%0aX-Injected:%20yes",
        "tenant='; drop table devices_device; --",
        "tenant=a%0d%0aX-Injected:%20yes",
    ],
)
def test_text_that_means_something_to_sql_or_http_finds_nothing(acme: Fleet, query: str) -> None:
    answer = send(member(acme, Role.VIEWER), "get", f"devices?{query}")
    assert answer.status_code == 200
    assert answer.json()["results"] == []
    assert "X-Injected" not in answer.headers
    assert Device.objects.count() == 1


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("devices", "tenant, state, kind, site, group, pending, q, limit, ordering, cursor"),
        ("sites", "tenant, q, limit, ordering, cursor"),
        ("groups", "tenant, q, limit, ordering, cursor"),
        ("tenants", "q, limit, ordering, cursor"),
        ("members", "tenant, q, limit, ordering, cursor"),
        ("enrolment-tokens", "tenant, q, limit, ordering, cursor"),
        ("tenants/acme/credentials", "limit, ordering, cursor"),
        ("devices/acme-phone", "tenant"),
        ("devices/acme-phone/status", "tenant"),
        ("devices/acme-phone/credentials", "limit, ordering, cursor, tenant"),
        ("devices/acme-phone/heartbeats", "hours, start, end, tz, limit, cursor, tenant"),
        (
            "devices/acme-phone/readings",
            "hours, start, end, tz, limit, cursor, metric, bucket, fill, format, bom, tenant",
        ),
        ("devices/acme-phone/presence", "limit, cursor, tenant"),
        ("telemetry/summary", "hours, start, tz, tenant"),
    ],
)
def test_a_parameter_that_is_misspelt_is_refused_with_those_there_are(
    acme: Fleet, path: str, known: str
) -> None:
    client = member(acme, Role.OWNER)
    assert send(client, "get", path).status_code == 200

    problem = assert_problem(send(client, "get", f"{path}?stat=offline"), 400)

    assert problem["errors"] == [
        {"field": "stat", "reason": f"Unknown parameter; you can use: {known}."}
    ]
