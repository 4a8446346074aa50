"""Sites and groups over the API."""

import json
from typing import Any

import pytest

from devices.models import DeviceGroup
from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send


@pytest.mark.parametrize("kind", ["sites", "groups"])
class TestPlaces:
    @pytest.fixture
    def own(self, kind: str, acme: Fleet, rival: Fleet) -> int:
        """The id of acme's only one, `acme site` by name."""
        if kind == "sites":
            return acme.site.pk
        DeviceGroup.objects.create(tenant=rival.tenant, name="rival group")
        return DeviceGroup.objects.create(tenant=acme.tenant, name="acme site").pk

    def test_a_manager_adds_changes_and_removes_them(
        self, acme: Fleet, kind: str, own: int
    ) -> None:
        client = member(acme, Role.MANAGER)
        answer = send(client, "post", kind, {"name": "Roof"})
        assert answer.status_code == 201
        path = answer["Location"].removeprefix("/api/v1/")
        assert_problem(send(client, "post", kind, {"name": "Roof"}), 409)
        assert send(client, "patch", path, {"name": "Cellar"}).json()["name"] == "Cellar"
        assert_problem(send(client, "patch", path, {"name": "acme site"}), 409)
        field = kind.removesuffix("s")
        body = {field: answer.json()["id"]}
        assert send(client, "patch", "devices/acme-phone", body).json()[field] == body[field]
        found = send(client, "get", f"devices?{field}={body[field]}").json()["results"]
        assert [row[field] for row in found] == [body[field]]
        assert send(client, "delete", path).status_code == 204
        assert send(client, "get", "devices/acme-phone").json()[field] is None

    def test_a_list_of_them_is_refused(self, acme: Fleet, kind: str, own: int) -> None:
        client = member(acme, Role.MANAGER)
        problem = assert_problem(send(client, "post", kind, [{"name": "Roof"}]), 400)
        assert [error["reason"] for error in problem["errors"]] == ["Send one object."]

    def test_others_do_not(self, acme: Fleet, rival: Fleet, kind: str, own: int) -> None:
        path = f"{kind}/{own}"
        for client, status in ((member(acme, Role.VIEWER), 403), (member(rival, Role.OWNER), 404)):
            assert_problem(send(client, "patch", path, {"name": "mine"}), status)
            assert_problem(send(client, "delete", path), status)
            body = {"name": "new", "tenant": "acme"}
            assert_problem(send(client, "post", kind, body), status)
        assert_problem(send(member(rival, Role.VIEWER), "get", path), 404)
        rows = send(member(acme, Role.MANAGER), "get", kind).json()["results"]
        assert [(row["id"], row["name"]) for row in rows] == [(own, "acme site")]

    def test_one_of_another_tenant_is_as_one_that_does_not_exist(
        self, acme: Fleet, rival: Fleet, kind: str, own: int
    ) -> None:
        client = member(rival, Role.MANAGER)
        field = kind.removesuffix("s")
        for pk in (own, 999_999):
            for method, path, body in (
                ("post", "devices", {"device_id": "x", field: pk}),
                ("patch", "devices/rival-phone", {field: pk}),
                ("post", "enrolment-tokens", {field: pk}),
            ):
                problem = assert_problem(send(client, method, path, body), 404)
                assert [one["field"] for one in problem["errors"]] == [field]


class TestSites:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": " "}, "name"),
            ({"name": "x", "latitude_deg": 91}, "latitude_deg"),
            ({"name": "x", "longitude_deg": 1e400}, "longitude_deg"),
            ({"name": "x", "longitude_deg": "east"}, "longitude_deg"),
            ({"name": "x", "longitude_deg": "NaN"}, "longitude_deg"),
            ({"name": "x", "longitude_deg": "-Infinity"}, "longitude_deg"),
        ],
    )
    def test_a_bad_field_is_named(self, acme: Fleet, body: dict[str, Any], field: str) -> None:
        client = member(acme, Role.MANAGER)
        data = json.dumps(body).replace("Infinity", "1e400")
        answer = client.generic("POST", "/api/v1/sites", data, content_type="application/json")
        problem = assert_problem(answer, 400)
        assert problem["errors"][0]["field"] == field

    @pytest.mark.parametrize("pk", ["0", "-1", "x", "99999999999999999999", "1%00", "1;"])
    def test_an_id_that_is_none_is_not_found(self, acme: Fleet, pk: str) -> None:
        assert_problem(send(member(acme, Role.VIEWER), "get", f"sites/{pk}"), 404)
