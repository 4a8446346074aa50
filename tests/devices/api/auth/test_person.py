from django.test import Client

from devices.models import Device
from tests.admin import client_of
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem


def test_a_session_reads_and_needs_its_csrf_token_to_write(acme: Fleet) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.manager)
    assert client.get("/api/v1/devices").status_code == 200
    body = {"device_id": "new"}
    refused = client.post("/api/v1/devices", body, content_type="application/json")
    assert_problem(refused, 403)
    assert Device.objects.count() == 1
    allowed = client_of(acme.manager)
    answer = allowed.post("/api/v1/devices", body, content_type="application/json")
    assert answer.status_code == 201
