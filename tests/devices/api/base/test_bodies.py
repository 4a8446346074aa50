import pytest

from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"device_id": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"device_id": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b'{"device_id": "' + b"x" * 1024 * 1024 + b'"}', "application/json", 413),
        (b"device_id=x", "application/x-www-form-urlencoded", 415),
        (b"<x/>", "text/xml", 415),
        (b"{}", "application/json; charset=klingon", 400),
    ],
)
def test_a_body_that_is_no_json_is_a_problem(
    acme: Fleet, data: bytes, content_type: str, status: int
) -> None:
    client = member(acme, Role.MANAGER)
    answer = client.generic("POST", "/api/v1/devices", data, content_type)  # type: ignore[arg-type]
    assert_problem(answer, status)
