"""Another tenant's owner requests every route and method of the API: nothing is told, nothing
changed. Routes are found from the OpenAPI schema, so that a new one cannot be forgotten.
"""

from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from devices.fleet.keys import gateway_credential_issue
from devices.models import Device, Site
from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet, Told
from tests.devices.api_callers import caller
from tests.ingest.way import REFUSED, append, append_heartbeat, drain, now, reading
from tests.tenant_tables import row_ensure, state, tenant_models

TABLES = sorted(model._meta.db_table for model in tenant_models())
METHODS = ("get", "post", "put", "patch", "delete")
MARK = "acme"
# Devices post there with their key, and people sign in there: neither returns rows.
DOORS = ("/api/push", "/api/v1/heartbeats", "/api/v1/readings", "/api/v1/enrol", "/api/v1/auth/")
# Only answered under ASGI; tests/e2e has its tests.
LIVE = "/api/v1/live"
QUERIES = ("", "?tenant=acme", "?hours=1", "?q=acme", "?search=acme", "?hours=1&format=csv")

pytestmark = pytest.mark.usefixtures("valkey")


class Route(NamedTuple):
    path: str
    method: str


def routes() -> list[Route]:
    generator: Any = SchemaGenerator
    schema = generator().get_schema(public=True)
    return [
        Route(path, method)
        for path, methods in schema["paths"].items()
        for method in METHODS
        if method in methods and not path.startswith(DOORS) and path != LIVE
    ]


ROUTES = routes()


@pytest.fixture
def full(acme: Fleet, rival: Fleet, settings: Any) -> None:
    """Two tenants with rows of everything, some of which were stored as messages."""
    settings.INGEST_SHARDS = 1
    for fleet in (acme, rival):
        append(fleet, reading(fleet.device, now()), reading(fleet.device, now(), REFUSED))
        append_heartbeat(fleet.device, now())
        gateway_credential_issue(tenant=fleet.tenant, label=f"{fleet.tenant.slug} gateway")
    drain()
    for fleet in (acme, rival):
        for table in TABLES:
            row_ensure(table, fleet)


@pytest.fixture
def outsider(rival: Fleet) -> User:
    """Who may do everything in the other tenant."""
    return person("rival-owner", (rival.tenant, Role.OWNER))


def first_of(table: str, column: str, fleet: Fleet) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {column} FROM {table} WHERE tenant_id = %s LIMIT 1", [fleet.tenant.pk]
        )
        return cursor.fetchone()[0]


def path_of(route: Route, fleet: Fleet) -> str:
    """The route's path, with something of the fleet's tenant in place of each parameter."""
    last = route.path.partition("{")[0].rstrip("/").rpartition("/")[2]
    tables = {
        "members": "devices_membership",
        "sites": "devices_site",
        "groups": "devices_devicegroup",
        "enrolment-tokens": "devices_enrolmenttoken",
    }
    path = route.path.replace("{device_id}", fleet.device.device_id)
    path = path.replace("{slug}", fleet.tenant.slug)
    if "{alias}" in path:
        path = path.replace("{alias}", first_of("devices_devicealias", "alias", fleet))
    if "{prefix}" in path:
        path = path.replace(
            "{prefix}", first_of(tables.get(last, "devices_credential"), "prefix", fleet)
        )
    if "{id}" in path:
        path = path.replace("{id}", str(first_of(tables[last], "id", fleet)))
    assert "{" not in path, f"{path}: say what stands for this parameter"
    return path


def bodies(acme: Fleet) -> list[dict[str, Any]]:
    """Bodies that would take, move or change something of the tenant's, if accepted."""
    return [
        {"tenant": "acme", "name": "stolen", "device_id": "stolen", "kind": "phone"},
        {"site": acme.site.pk, "name": "stolen", "device_id": "stolen2", "kind": "phone"},
        {"tenant": "acme", "username": "rival-owner", "role": "owner", "user": "rival-owner"},
        {"tenant": "acme", "slug": "acme", "label": "stolen", "max_uses": 1, "why": "stolen"},
    ]


def text_of(response: Any) -> str:
    streamed = getattr(response, "streaming_content", None)
    content = b"".join(streamed) if streamed else response.content
    return str(content.decode().lower())


def ask(client: APIClient, method: str, path: str, body: Any = None) -> Any:
    return getattr(client, method)(path, body, format="json")


@pytest.mark.usefixtures("full")
def test_no_route_tells_or_gives_an_outsider_anything(
    acme: Fleet, outsider: User, told: Told
) -> None:
    before = state(TABLES, acme)
    client = caller(outsider)
    for route in told(ROUTES, "routes of the API, asked in 4 to 6 ways"):
        path = path_of(route, acme)
        asked = [(f"{path}{query}", None) for query in QUERIES] if route.method == "get" else []
        sent = [(path, body) for body in bodies(acme)] if route.method != "get" else []
        for address, body in [*asked, *sent]:
            response = ask(client, route.method, address, body)
            assert response.status_code < 500, (address, body)
            if "{" in route.path:
                assert response.status_code in (400, 403, 404, 405, 415), (address, body)
            # The answer may repeat what the request named, but nothing else.
            words = text_of(response)
            for repeated in ("?tenant=acme", "tenant 'acme'", "acme-phone", "'acme'", '"acme"'):
                words = words.replace(repeated, "") if repeated in address + str(body) else words
            assert MARK not in words, (address, words)
        assert state(TABLES, acme) == before, route


@pytest.mark.usefixtures("full")
def test_no_route_lets_an_onlooker_change_anything(acme: Fleet, rival: Fleet, told: Told) -> None:
    onlooker = person("onlooker", (rival.tenant, Role.OWNER), (acme.tenant, Role.VIEWER))
    before = state(TABLES, acme)
    client = caller(onlooker)
    writing = [route for route in ROUTES if route.method != "get"]
    for route in told(writing, "routes of the API that write, asked in 4 ways by an onlooker"):
        for body in bodies(acme):
            response = ask(client, route.method, path_of(route, acme), body)
            assert response.status_code < 500, (route, body)
        assert state(TABLES, acme) == before, route


@pytest.mark.usefixtures("full")
def test_every_route_wants_a_stranger_to_show_who_they_are(acme: Fleet, told: Told) -> None:
    before = state(TABLES, acme)
    for route in told(ROUTES, "routes of the API, asked by nobody"):
        response = ask(APIClient(), route.method, path_of(route, acme), {})
        assert response.status_code == 401, (route, response.status_code)
        assert MARK not in text_of(response)
    assert state(TABLES, acme) == before


@pytest.mark.usefixtures("full")
def test_nothing_moves_between_tenants_from_either_end(
    acme: Fleet, rival: Fleet, outsider: User
) -> None:
    path = f"/api/v1/devices/{rival.device.device_id}"
    client = caller(outsider)

    for body in ({"tenant": "acme"}, {"site": acme.site.pk}):
        assert ask(client, "patch", path, body).status_code in (200, 400, 404)
    rival.device.refresh_from_db()

    assert rival.device.tenant_id == rival.tenant.pk
    assert rival.device.site_id is None
    assert Site.objects.get(pk=acme.site.pk).tenant_id == acme.tenant.pk
    assert Device.objects.filter(tenant=acme.tenant).count() == 1


def test_every_address_below_api_is_described() -> None:
    """Routes outside the schema would not be requested by the tests above."""

    def below(resolver: Any, prefix: str) -> set[str]:
        found = set()
        for one in resolver.url_patterns:
            route = prefix + str(one.pattern)
            if isinstance(one, URLResolver):
                found |= below(one, route)
            elif isinstance(one, URLPattern) and route.startswith("api/"):
                found.add(one.name or route)
        return found

    described = {"schema", "api-docs", "seed-status"}
    names = below(get_resolver(), "")
    assert len(names - described) >= len({route.path for route in ROUTES})
