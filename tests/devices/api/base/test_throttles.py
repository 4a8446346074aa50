from django.conf import LazySettings

from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send


def test_too_many_attempts_wait(acme: Fleet, settings: LazySettings) -> None:
    settings.API_SIGN_INS_PER_MIN = 2
    body = {"username": "acme-manager", "password": "wrong"}
    for status in (401, 401, 429):
        answer = send(caller(None), "post", "auth/token", body)
        assert_problem(answer, status)
    assert 0 < int(answer["Retry-After"]) <= 60


def test_too_many_requests_wait(acme: Fleet, settings: LazySettings) -> None:
    settings.API_REQUESTS_PER_MIN = 2
    client, other = member(acme, Role.VIEWER), caller(acme.manager)
    for status in (200, 200, 429):
        answer = send(client, "get", "devices")
        assert answer.status_code == status
    assert 0 < int(answer["Retry-After"]) <= 60
    assert send(other, "get", "devices").status_code == 200
