"""Error pages are our own and say what to do."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client, RequestFactory
from psycopg.errors import AdminShutdown

from devices.http.problems import bad_request, server_error
from devices.models import Device
from devices.tenancy import scope
from monitoring.admin import DeviceAdmin
from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, send

LEADS_ON = 'href="/admin/">Go to the fleet</a>'


def test_an_address_of_nothing_says_so_and_leads_on(viewer: User) -> None:
    for client in (Client(), client_of(viewer)):
        answer = client.get("/accounts/nothing/")
        assert answer.status_code == 404
        assert "There is nothing at this address." in answer.content.decode()
        assert LEADS_ON in answer.content.decode()


def test_what_a_role_does_not_allow_says_who_can_help(viewer: User) -> None:
    answer = client_of(viewer).get(page("devices_device_add"))
    assert answer.status_code == 403
    assert "Ask an owner of your tenant" in answer.content.decode()
    assert LEADS_ON in answer.content.decode()


def test_an_old_form_says_what_to_do(viewer: User) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/accounts/login/", {"login": "acme-viewer", "password": "x"})
    assert answer.status_code == 403
    assert "This form is out of date." in answer.content.decode()


def test_errors_of_ours_need_nothing_that_may_be_broken(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    broken, odd = server_error(request), bad_request(request, ValueError())
    assert (broken.status_code, odd.status_code) == (500, 400)
    assert LEADS_ON.encode() in broken.content  # type: ignore[attr-defined]
    assert LEADS_ON.encode() in odd.content  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_what_takes_the_database_too_long_is_given_up_in_words(
    viewer: User, acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(self: DeviceAdmin, request: HttpRequest) -> QuerySet[Device]:
        return Device.objects.extra(select={"slept": "pg_sleep(60)"})

    assert scope.STATEMENT_TIMEOUT == "60s"
    monkeypatch.setattr(scope, "STATEMENT_TIMEOUT", "200ms")
    client = client_of(viewer)
    client.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr(DeviceAdmin, "get_queryset", slow)
        answer = client.get(page("devices_device_changelist"))
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "The database took too long" in answer.content.decode()
    assert client.get(page("devices_device_changelist")).status_code == 200


def change_burst(kind: str) -> None:
    """On another connection, as a migration does."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(f"ALTER TABLE devices_device ALTER burst TYPE {kind}")
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_column_of_another_type_is_met_once_and_in_words(viewer: User, acme: Fleet) -> None:
    api = caller(viewer)
    for _ in range(8):
        assert send(api, "get", "devices/acme-phone").status_code == 200
    change_burst("bigint")
    try:
        problem = assert_problem(send(api, "get", "devices/acme-phone"), 503)
        assert "could not do this just now" in problem["detail"]
        assert send(api, "get", "devices/acme-phone").status_code == 200
    finally:
        change_burst("integer")


@pytest.mark.django_db(transaction=True)
def test_what_the_database_never_does_is_our_error(
    viewer: User, acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: DeviceAdmin, request: HttpRequest) -> QuerySet[Device]:
        return Device.objects.extra(where=["generate_series(1, 2) = 1"])

    monkeypatch.setattr(DeviceAdmin, "get_queryset", wrong)
    client = client_of(viewer)
    client.raise_request_exception = False
    assert client.get(page("devices_device_changelist")).status_code == 500


@pytest.mark.django_db(transaction=True)
def test_an_error_that_django_does_not_wrap_is_told_alike(
    viewer: User, acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def going(self: DeviceAdmin, request: HttpRequest) -> QuerySet[Device]:
        raise AdminShutdown("terminating connection due to administrator command")

    monkeypatch.setattr(DeviceAdmin, "get_queryset", going)
    client = client_of(viewer)
    client.raise_request_exception = False
    answer = client.get(page("devices_device_changelist"))
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "The database is unavailable" in answer.content.decode()
