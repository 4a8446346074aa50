"""Members over the API."""

from django.test import Client

from devices.models import Membership
from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send

PASSWORD = "correct horse"


class TestMembers:
    def test_owners_add_change_and_remove_people(self, acme: Fleet, rival: Fleet) -> None:
        owner = person("owner", (acme.tenant, Role.OWNER), (rival.tenant, Role.OWNER))
        client = caller(owner)
        body = {"tenant": "acme", "username": "rival-manager", "role": "viewer"}
        answer = send(client, "post", "members", body)
        assert answer.status_code == 201
        assert_problem(send(client, "post", "members", body), 409)
        path = answer["Location"].removeprefix("/api/v1/")
        assert send(client, "patch", path, {"role": "owner"}).json()["role"] == "owner"
        assert send(client, "delete", path).status_code == 204
        assert_problem(send(client, "get", path), 404)

    def test_nobody_else_does(self, acme: Fleet, rival: Fleet) -> None:
        mine = Membership.objects.get(user=acme.manager)
        for client, status in (
            (member(acme, Role.VIEWER), 403),
            (caller(acme.manager), 403),
            (member(rival, Role.OWNER), 404),
        ):
            path = f"members/{mine.pk}"
            assert_problem(send(client, "patch", path, {"role": "owner"}), status)
            assert_problem(send(client, "delete", path), status)
            body = {"tenant": "acme", "username": "rival-manager", "role": "owner"}
            assert_problem(send(client, "post", "members", body), status)
        assert Membership.objects.get(pk=mine.pk).role == Role.MANAGER

    def test_people_without_an_account_are_invited_in_the_admin(self, acme: Fleet) -> None:
        body = {"username": "nobody", "role": "viewer"}
        answer = send(member(acme, Role.OWNER), "post", "members", body)
        assert "in the admin" in assert_problem(answer, 404)["errors"][0]["reason"]
        headers = {"Accept": "application/vnd.oai.openapi+json"}
        described = Client().get("/api/schema/", headers=headers).json()["components"]["schemas"]
        assert (
            "in the admin"
            in described["MemberCreateRequest"]["properties"]["username"]["description"]
        )

    def test_a_field_that_cannot_be_set_is_answered_with_those_that_can(self, acme: Fleet) -> None:
        path = f"members/{Membership.objects.get(user=acme.manager).pk}"
        answer = send(member(acme, Role.OWNER), "patch", path, {"role": "viewer", "user": "x"})
        (error,) = assert_problem(answer, 400)["errors"]
        assert error["field"] == "user"
        assert error["reason"].endswith("; you can set: role.")

    def test_people_of_other_tenants_have_no_names(self, acme: Fleet, rival: Fleet) -> None:
        client = member(acme, Role.OWNER)
        unknown, foreign = (
            assert_problem(
                send(client, "post", "members", {"username": name, "role": "viewer"}), 404
            )
            for name in ("nobody", "rival-manager")
        )
        assert unknown == foreign
        names = [row["username"] for row in send(client, "get", "members").json()["results"]]
        assert sorted(names) == ["acme-manager", "acme-owner-1"]
