from devices.models import Membership
from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send


def test_a_tenant_keeps_an_owner(acme: Fleet) -> None:
    client = member(acme, Role.OWNER)
    path = f"members/{Membership.objects.get(role=Role.OWNER).pk}"
    for method, body in (("patch", {"role": "viewer"}), ("delete", None)):
        assert "owner" in assert_problem(send(client, method, path, body), 409)["detail"]
    member_two = person("second", (acme.tenant, Role.OWNER))
    assert send(client, "patch", path, {"role": "viewer"}).status_code == 200
    assert_problem(send(client, "patch", path, {"role": "owner"}), 403)
    assert send(caller(member_two), "get", path).json()["role"] == "viewer"
