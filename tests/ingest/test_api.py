"""`/api/v1/refused`."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from devices.tenancy.access import Role
from ingest.models import Refusal
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member
from tests.ingest.door.refusing import refusal_add

PATH = "/api/v1/refused"
Code = Refusal.Code


def names(answer: Any) -> list[tuple[str | None, str, int]]:
    assert answer.status_code == 200, answer.content
    return [(one["device_id"], one["code"], one["count"]) for one in answer.json()["results"]]


def test_it_says_what_was_refused_and_why(acme: Fleet, rival: Fleet) -> None:
    row = refusal_add(acme, Code.INVALID, device=acme.device)
    refusal_add(rival, Code.INVALID, device=rival.device)

    answer = member(acme, Role.VIEWER).get(PATH)

    (shown,) = answer.json()["results"]
    assert shown == {
        "tenant": "acme",
        "device_id": "acme-phone",
        "code": "invalid",
        "field": "battery_pct",
        "reason": "`battery_pct` 255: expected at most 100",
        "sample": '{"battery_pct": 255}',
        "count": 7,
        "minute": _time(row.minute),
        "first_at": _time(row.first_at),
        "last_at": _time(row.last_at),
    }
    assert answer.json()["next"] is None


def _time(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))


def test_the_list_is_narrowed(acme: Fleet, rival: Fleet, operator: User) -> None:
    refusal_add(acme, Code.INVALID, device=acme.device, count=1)
    refusal_add(acme, Code.BACKLOG, count=2)
    refusal_add(acme, Code.INVALID, count=3, minute=timezone.now() - timedelta(days=3))
    refusal_add(rival, Code.FORBIDDEN, device=rival.device, count=4)
    client = caller(operator)

    def counts(**asked: Any) -> set[int]:
        return {count for _, _, count in names(client.get(PATH, asked))}

    assert counts() == {1, 2, 4}
    assert counts(hours=96) == {1, 2, 3, 4}
    assert counts(device_id="acme-phone") == {1}
    assert counts(tenant="acme") == {1, 2}
    assert counts(tenant="nobody") == set()
    assert counts(code=["forbidden", "backlog"]) == {2, 4}


def test_pages_follow_each_other_latest_first(acme: Fleet) -> None:
    now = timezone.now()
    for n in range(7):
        refusal_add(
            acme, Code.INVALID, count=n, minute=now - timedelta(minutes=n // 2), field=f"{n}"
        )
    client = member(acme, Role.VIEWER)

    url, seen = f"{PATH}?limit=3", []
    while url:
        answer = client.get(url)
        seen += [count for _, _, count in names(answer)]
        url = answer.json()["next"]

    assert [n // 2 for n in seen] == sorted(n // 2 for n in range(7))
    assert sorted(seen) == list(range(7))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("code=wrong", 400),
        ("hours=0", 400),
        ("limit=0", 400),
        ("since=yesterday", 400),
        ("cursor=made-up", 404),
    ],
)
def test_wrong_parameters_are_refused(acme: Fleet, query: str, status: int) -> None:
    assert_problem(member(acme, Role.VIEWER).get(f"{PATH}?{query}"), status)


def test_nobody_reads_it_without_signing_in(acme: Fleet) -> None:
    assert_problem(caller(None).get(PATH), 401)
