"""People who call the API with a token."""

from typing import Any

from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from devices.models import Device, Site, Tenant
from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet

V1 = "/api/v1"


def caller(user: User | None) -> APIClient:
    """A client with the person's token, or without a token if there is no person."""
    client = APIClient()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


def member(fleet: Fleet, role: Role) -> APIClient:
    """Somebody new with this role in the fleet's tenant."""
    return caller(person(f"{fleet.tenant.slug}-{role.value}-1", (fleet.tenant, role)))


def send(client: APIClient, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The answer to a request with a body of JSON."""
    request = getattr(client, method)
    return request(f"{V1}/{path}", body, format="json", **headers)


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """The problem that was answered."""
    assert response.status_code == status, (response.status_code, response.content)
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem


def device_of(tenant: Tenant, device_id: str, site: Site | None = None) -> Device:
    return Device.objects.create(tenant=tenant, device_id=device_id, site=site)
