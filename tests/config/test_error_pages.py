"""Errors that people meet are pages of ours, which say what to do."""

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from config.problems import bad_request, server_error
from devices.tenancy import Role
from tests.admin import client_of, page, person
from tests.conftest import Fleet

LEADS_ON = 'href="/admin/">To the fleet</a>'


@pytest.fixture
def viewer(acme: Fleet) -> User:
    return person("acme-viewer", (acme.tenant, Role.VIEWER))


def test_an_address_of_nothing_says_so_and_leads_on(viewer: User) -> None:
    for client in (Client(), client_of(viewer)):
        answer = client.get("/accounts/nothing/")
        assert answer.status_code == 404
        assert "There is nothing at this address." in answer.content.decode()
        assert LEADS_ON in answer.content.decode()


def test_what_a_role_does_not_allow_says_who_can_help(viewer: User) -> None:
    answer = client_of(viewer).get(page("devices_device_add"))
    assert answer.status_code == 403
    assert "An owner of your tenant" in answer.content.decode()
    assert LEADS_ON in answer.content.decode()


def test_an_old_form_says_what_to_do(viewer: User) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/accounts/login/", {"login": "acme-viewer", "password": "x"})
    assert answer.status_code == 403
    assert "This form is too old." in answer.content.decode()


def test_errors_of_ours_need_nothing_that_may_be_broken(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    broken, odd = server_error(request), bad_request(request, ValueError())
    assert (broken.status_code, odd.status_code) == (500, 400)
    assert LEADS_ON.encode() in broken.content  # type: ignore[attr-defined]
    assert LEADS_ON.encode() in odd.content  # type: ignore[attr-defined]
