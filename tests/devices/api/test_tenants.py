from django.contrib.auth.models import User

from devices.models import Tenant
from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send


class TestTenants:
    def test_people_see_their_own_with_their_role(self, acme: Fleet, rival: Fleet) -> None:
        client = caller(person("p", (acme.tenant, Role.VIEWER), (rival.tenant, Role.OWNER)))
        rows = send(client, "get", "tenants").json()["results"]
        assert [(row["slug"], row["role"]) for row in rows] == [
            ("acme", "viewer"),
            ("rival", "owner"),
        ]
        assert len(send(member(acme, Role.OWNER), "get", "tenants").json()["results"]) == 1

    def test_an_outsider_finds_and_changes_nothing(self, acme: Fleet, rival: Fleet) -> None:
        client = member(rival, Role.OWNER)
        assert_problem(send(client, "get", "tenants/acme"), 404)
        assert_problem(send(client, "patch", "tenants/acme", {"name": "mine"}), 404)
        assert Tenant.objects.get(slug="acme").name == "Acme"

    def test_an_owner_changes_what_is_the_owners(self, acme: Fleet) -> None:
        client = member(acme, Role.OWNER)
        body = {"name": "Acme Ltd", "default_interval_s": 10, "registration": "pending"}
        answer = send(client, "patch", "tenants/acme", body)
        assert answer.json() | body == answer.json()
        for field, value in (
            ("slug", "x"),
            ("device_limit", 1),
            ("rate_per_s", 1),
            ("is_active", False),
        ):
            problem = assert_problem(send(client, "patch", "tenants/acme", {field: value}), 403)
            assert field in problem["detail"]
        for role in (Role.VIEWER, Role.MANAGER):
            assert_problem(send(member(acme, role), "patch", "tenants/acme", {"name": "x"}), 403)

    def test_operators_alone_add_tenants(self, acme: Fleet, operator: User) -> None:
        body = {"name": "New", "slug": "new"}
        assert_problem(send(member(acme, Role.OWNER), "post", "tenants", body), 403)
        client = caller(operator)
        answer = send(client, "post", "tenants", body)
        assert answer.status_code == 201
        assert answer.json()["role"] == "operator"
        assert "already" in assert_problem(send(client, "post", "tenants", body), 409)["detail"]
        assert send(client, "patch", "tenants/new", {"is_active": False}).status_code == 200
        for slug in ("", "a b", "ü", "x" * 64, "a\x00", " a", "a\n"):
            assert_problem(send(client, "post", "tenants", body | {"slug": slug}), 400)
