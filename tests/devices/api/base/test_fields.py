import pytest

from devices.models import Device
from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "device_id"),
        ({"device_id": ""}, "device_id"),
        ({"device_id": "a/b"}, "device_id"),
        ({"device_id": " x "}, "device_id"),
        ({"device_id": "x\n"}, "device_id"),
        ({"device_id": "a\x00b"}, "device_id"),
        ({"device_id": "x" * 65}, "device_id"),
        ({"device_id": None}, "device_id"),
        ({"device_id": ["x"]}, "device_id"),
        ({"device_id": "x", "name": "a\x00"}, "name"),
        ({"device_id": "x", "name": "n" * 121}, "name"),
        ({"device_id": "x", "name": "n" * 120 + " "}, "name"),
        ({"device_id": "x", "kind": "toaster"}, "kind"),
        ({"device_id": "x", "site": "first"}, "site"),
        ({"device_id": "x", "site": "1"}, "site"),
        ({"device_id": "x", "site": True}, "site"),
        ({"device_id": 7}, "device_id"),
        ({"device_id": "x", "kind": 7}, "kind"),
        ({"device_id": "x", "site": 2**70}, "site"),
        ({"device_id": "x", "site": -1}, "site"),
        ({"device_id": "x", "expected_interval_s": 0}, "expected_interval_s"),
        ({"device_id": "x", "expected_interval_s": 1e300}, "expected_interval_s"),
        ({"device_id": "x", "grace_s": -1}, "grace_s"),
        ({"device_id": "x", "tenant": "a\x00"}, "tenant"),
        ({"device_id": "x", "is_pending": True}, "is_pending"),
        ({"device_id": "x", "nmae": "typo"}, "nmae"),
        ([], "non_field_errors"),
        ("text", "non_field_errors"),
    ],
)
def test_a_bad_field_is_named(acme: Fleet, body: object, field: str) -> None:
    problem = assert_problem(send(member(acme, Role.MANAGER), "post", "devices", body), 400)
    assert {error["field"] for error in problem["errors"]} == {field}
    assert Device.objects.count() == 1
