"""Another tenant's owner requests every address of the admin: nothing is shown or changed.

Addresses are found from the URL table, so that a new page cannot be forgotten.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from devices.fleet.keys import gateway_credential_issue
from devices.models import Device, Tenant
from devices.tenancy.access import Role
from tests.admin import client_of, confirmed, person, told_by
from tests.conftest import Fleet, Told
from tests.ingest.way import REFUSED, append, append_heartbeat, drain, now, reading
from tests.tenant_tables import row_ensure, state, tenant_models

TABLES = sorted(model._meta.db_table for model in tenant_models())
# Pages for signing in, or without any row.
NOT_ABOUT_ROWS = {"login", "logout", "password_change", "password_change_done", "jsi18n"}
MARK = b"acme"
# The key of no row.
NOBODY = 2_000_000_000
QUERIES = (
    "tenant__id__exact={tenant}",
    "device__tenant={tenant}",
    "q=acme-phone",
    "app_label=devices&model_name=device&field_name=site&term=",
    "app_label=devices&model_name=enrolmenttoken&field_name=site&term=",
)

pytestmark = pytest.mark.usefixtures("valkey")


class Address(NamedTuple):
    """A named address of the admin, with the names of its parameters."""

    name: str
    parameters: tuple[str, ...]


def addresses() -> Iterator[Address]:
    resolvers = get_resolver().url_patterns
    (site,) = (
        one for one in resolvers if isinstance(one, URLResolver) and one.namespace == "admin"
    )
    seen: set[str] = set()
    for pattern in _patterns(site):
        if pattern.name and pattern.name not in seen | NOT_ABOUT_ROWS:
            seen.add(pattern.name)
            yield Address(pattern.name, tuple(pattern.pattern.regex.groupindex))


def _patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from _patterns(one)
        else:
            yield one


ADDRESSES = sorted(addresses())
ACTIONS = [
    (model, action)
    for model, model_admin in admin.site._registry.items()
    for action in (model_admin.actions or ())
    if isinstance(action, str)
] + [(model, "delete_selected") for model in admin.site._registry]


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


@pytest.fixture
def onlooker(acme: Fleet, rival: Fleet) -> User:
    """Somebody who may do everything in the other tenant, and may view this one."""
    return person("onlooker", (rival.tenant, Role.OWNER), (acme.tenant, Role.VIEWER))


def model_of(name: str) -> type[Model] | None:
    """The model of an address, by Django's naming: app_model_page."""
    for model in admin.site._registry:
        if name.startswith(f"{model._meta.app_label}_{model._meta.model_name}_"):
            return model
    return None


def row_of(model: type[Model] | None, fleet: Fleet) -> Any:
    """The key of a row of the fleet's tenant, of one of its people, or of one without a tenant."""
    if model is None:
        return fleet.device.pk
    if model is Tenant:
        return fleet.tenant.pk
    if model is User:
        return fleet.manager.pk
    rows = model._default_manager.all()
    if any(one.name == "tenant" for one in model._meta.get_fields()):
        rows = rows.filter(tenant=fleet.tenant)
    row = rows.first()
    return row.pk if row else 1


def url_of(address: Address, fleet: Fleet, row: Any = None) -> str:
    """The address for this row, or for a row of the fleet's tenant."""
    row = row or row_of(model_of(address.name), fleet)
    known = {
        "app_label": "devices",
        "content_type_id": ContentType.objects.get_for_model(Device).pk,
        "url": "",
    }
    values = {name: known.get(name, row) for name in address.parameters}
    return reverse(f"admin:{address.name}", kwargs=values)


def assert_nothing_is_told(response: Any, url: str, repeated: bytes = b"") -> None:
    assert response.status_code in (200, 302, 400, 403, 404, 405), (url, response.status_code)
    body = told_by(response)
    assert MARK not in (body.replace(repeated, b"") if repeated else body), url
    location = response.headers.get("Location", "").lower().encode()
    assert MARK not in (location.replace(repeated, b"") if repeated else location), url


@pytest.mark.usefixtures("full")
def test_no_address_shows_an_outsider_anything(acme: Fleet, outsider: User, told: Told) -> None:
    client = client_of(outsider)
    for address in told(ADDRESSES, f"addresses of the admin, asked in {1 + len(QUERIES)} ways"):
        url = url_of(address, acme)
        assert_nothing_is_told(client.get(url), url)
        for query in QUERIES:
            asked = f"{url}?{query.format(tenant=acme.tenant.pk)}"
            # The search field repeats the search term.
            repeated = MARK + b"-phone" if "q=" in query else b""
            assert_nothing_is_told(client.get(asked), asked, repeated)


@pytest.mark.usefixtures("full")
def test_a_row_of_another_tenant_is_to_an_outsider_what_none_is(
    acme: Fleet, outsider: User, told: Told
) -> None:
    client = client_of(outsider)
    of_rows = [one for one in ADDRESSES if "object_id" in one.parameters]
    for address in told(of_rows, "addresses of rows in the admin, asked for one that is not there"):
        foreign, nowhere = url_of(address, acme), url_of(address, acme, NOBODY)
        for ask in (client.get, client.post):
            answers = [ask(url) for url in (foreign, nowhere)]
            assert answers[0].status_code == answers[1].status_code, foreign
            assert answers[0].get("Location") == answers[1].get("Location"), foreign


@pytest.mark.usefixtures("full")
def test_no_address_lets_an_outsider_change_anything(
    acme: Fleet, outsider: User, told: Told
) -> None:
    before = state(TABLES, acme)
    client = client_of(outsider)
    for address in told(ADDRESSES, "addresses of the admin, sent to in 3 ways"):
        url = url_of(address, acme)
        for answer in sent_to(client, url, acme):
            assert_nothing_is_told(answer, url)
        assert state(TABLES, acme) == before, url


@pytest.mark.usefixtures("full")
def test_no_address_lets_an_onlooker_change_anything(
    acme: Fleet, onlooker: User, told: Told
) -> None:
    before = state(TABLES, acme)
    client = client_of(onlooker)
    for address in told(ADDRESSES, "addresses of the admin, sent to in 3 ways by an onlooker"):
        url = url_of(address, acme)
        for answer in sent_to(client, url, acme):
            assert answer.status_code < 500, url
        assert state(TABLES, acme) == before, url


def sent_to(client: Client, url: str, acme: Fleet) -> Iterator[Any]:
    """The answers to requests that would take or change something of the tenant's."""
    fields = {
        "post": "yes",
        "tenant": acme.tenant.pk,
        "device_id": "stolen",
        "name": "stolen",
        "site": acme.site.pk,
        "kind": "phone",
        "label": "stolen",
        "why": "stolen",
        "payload": '{"metrics": {"a": 1}}',
        "max_uses": 1,
        "expires_at_0": "2030-01-01",
        "expires_at_1": "00:00",
        "_save": "Save",
    }
    for method in (client.post, client.put, client.delete):
        yield method(url, fields)


@pytest.mark.usefixtures("full")
def test_every_address_wants_a_stranger_to_sign_in(acme: Fleet, told: Told) -> None:
    for address in told(ADDRESSES, "addresses of the admin, asked by nobody"):
        response = Client().get(url_of(address, acme))
        assert response.status_code in (302, 403, 404), address
        if response.status_code == 302:
            assert "login" in response.headers["Location"]


@pytest.mark.usefixtures("full")
def test_no_action_reaches_rows_of_another_tenant(acme: Fleet, outsider: User, told: Told) -> None:
    before = state(TABLES, acme)
    client = client_of(outsider)
    for model, action in told(ACTIONS, "actions of the admin"):
        assert MARK not in told_by(done(client, action, model, acme)), (model, action)
        assert state(TABLES, acme) == before, (model, action)


@pytest.mark.usefixtures("full")
def test_no_action_lets_an_onlooker_change_anything(
    acme: Fleet, onlooker: User, told: Told
) -> None:
    before = state(TABLES, acme)
    client = client_of(onlooker)
    for model, action in told(ACTIONS, "actions of the admin, by an onlooker"):
        done(client, action, model, acme)
        assert state(TABLES, acme) == before, (model, action)


def done(client: Client, action: str, model: type[Model], fleet: Fleet) -> Any:
    """The answer to a confirmed action on a row of the fleet's."""
    chosen = {
        "action": action,
        "_selected_action": [str(row_of(model, fleet))],
        "why": "stolen",
        "index": "0",
    }
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return confirmed(client, reverse(name), chosen, follow=True)


@pytest.mark.usefixtures("full")
def test_a_list_has_the_same_rows_in_every_order(acme: Fleet, operator: User, told: Told) -> None:
    for name in ("acme-spare", "acme-third"):
        Device.objects.create(tenant=acme.tenant, device_id=name, site=acme.site)
    client = client_of(operator)
    lists = [one for one in ADDRESSES if one.name.endswith("_changelist")]
    for address in told(lists, "lists of the admin, in every order"):
        url = url_of(address, acme)
        rows = client.get(url).context["cl"]
        for column in range(1, len(rows.list_display) + 1):
            for order in (column, -column):
                ordered = client.get(url, {"o": str(order)}).context["cl"]
                assert len(ordered.result_list) == len(rows.result_list), (url, order)
