"""Lists of the API, page by page."""

import pytest
from django.contrib.auth.models import User

from devices.models import Device
from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, device_of, member, send


@pytest.mark.parametrize("ordering", ["device_id", "-device_id", "name", "-name", "created_at"])
def test_pages_show_every_device_once_in_order(
    acme: Fleet, rival: Fleet, operator: User, ordering: str
) -> None:
    for number in range(7):
        Device.objects.create(tenant=acme.tenant, device_id=f"d{number}", name="same")
    for client in (member(acme, Role.VIEWER), caller(operator)):
        whole = send(client, "get", f"devices?ordering={ordering}").json()["results"]
        path: str | None = f"/api/v1/devices?ordering={ordering}&limit=3"
        walked = []
        while path:
            page = client.get(path).json()
            assert len(page["results"]) <= 3
            walked += page["results"]
            path = page["next"]
        assert walked == whole
        assert len(walked) >= 8


def test_a_cursor_is_good_for_its_own_order_only(acme: Fleet) -> None:
    device_of(acme.tenant, "second")
    client = member(acme, Role.VIEWER)
    following = send(client, "get", "devices?limit=1").json()["next"]
    assert client.get(following).status_code == 200
    for path in (
        f"{following}&ordering=name",
        following.replace("cursor=", "cursor=x"),
        following.replace("devices", "sites"),
        *(f"/api/v1/devices?cursor={text}" for text in ("abc", "%00", "eyJhIjoxfQ:1:1", "é")),
    ):
        problem = assert_problem(client.get(path), 404)
        assert problem["errors"][0]["field"] == "cursor"
