"""Query parameters are accepted as the schema says, wherever they may be given."""

from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from drf_spectacular.generators import SchemaGenerator

from tests.conftest import Fleet
from tests.devices.api_callers import caller

generator: Any = SchemaGenerator
SCHEMA: dict[str, Any] = generator().get_schema(public=True)
# Numbers to Python and to people, but not in JSON.
NO_INTEGERS = ("", "1_0", "1.0", "+1", "١")


class Asked(NamedTuple):
    path: str
    name: str


DESCRIBED = [
    (path, one)
    for path, operations in SCHEMA["paths"].items()
    for one in operations.get("get", {}).get("parameters", ())
    if one["in"] == "query"
]
ASKED = [
    Asked(path, one["name"]) for path, one in DESCRIBED if one["schema"].get("type") == "integer"
]
# The operations on one credential, which a test would have to issue first.
LISTS_AND_DEVICES = [Asked(path, one["name"]) for path, one in DESCRIBED if "{prefix}" not in path]


@pytest.mark.parametrize("asked", ASKED, ids=lambda one: f"{one.path}?{one.name}")
def test_what_is_no_integer_is_refused(asked: Asked, acme: Fleet, operator: User) -> None:
    path = asked.path.format(device_id="acme-phone", slug="acme")
    client = caller(operator)

    assert client.get(path, {asked.name: "1"}).status_code == 200
    for value in NO_INTEGERS:
        answer = client.get(path, {asked.name: value})
        assert answer.status_code == 400, value
        assert answer.json()["errors"][0]["field"] == asked.name


@pytest.mark.parametrize("asked", LISTS_AND_DEVICES, ids=lambda one: f"{one.path}?{one.name}")
def test_what_is_described_is_known(asked: Asked, acme: Fleet, operator: User) -> None:
    path = asked.path.format(device_id="acme-phone", slug="acme")

    answer = caller(operator).get(path, {asked.name: "acme"})

    assert answer.status_code in (200, 400, 404)
    assert b"Unknown parameter" not in answer.content
