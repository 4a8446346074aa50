import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from devices.audit.history import latest_differences
from devices.fleet.enrolment import token_issue
from devices.models import Device, DeviceGroup, EnrolmentToken, Membership, Tenant
from devices.tenancy.access import Role
from tests.admin import client_of, page, person
from tests.conftest import Fleet

MARKS = re.compile(r'<input type="hidden" name="([\w-]*_shown)" value="([^"]*)">')


def form_of(client: Client, url: str) -> dict[str, Any]:
    """What a browser posts if nothing on the page is filled in."""
    answer = client.get(url)
    formsets = [one.formset for one in answer.context["inline_admin_formsets"]]
    forms = [answer.context["adminform"].form]
    forms += [form for formset in formsets for form in [formset.management_form, *formset]]
    values = {bound.html_name: bound.value() for form in forms for bound in form}
    filled = {one: value for one, value in values.items() if not (value is None or value is False)}
    return filled | dict(MARKS.findall(answer.content.decode()))


@pytest.fixture
def colleague(acme: Fleet) -> Client:
    return client_of(person("colleague", (acme.tenant, Role.OWNER)))


@pytest.fixture
def url(acme: Fleet) -> str:
    return page("devices_device_change", acme.device.pk)


def test_a_form_that_is_out_of_date_says_who_changed_what_and_saves_nothing(
    acme: Fleet, colleague: Client, url: str
) -> None:
    client = client_of(acme.manager)
    stale = form_of(client, url)
    first = form_of(colleague, url) | {"name": "Kim's <phone>", "site": acme.site.pk}
    assert colleague.post(url, first).status_code == 302

    answer = client.post(url, stale | {"kind": "gateway"})

    errors = answer.context["adminform"].form.errors
    assert set(errors) == {"name", "site"}
    assert "colleague has since changed this to “Kim's <phone>”." in errors["name"][0]
    assert "colleague has since changed this to “acme site”." in errors["site"][0]
    words = answer.content.decode()
    assert "Kim&#x27;s &lt;phone&gt;" in words
    assert "Nothing has been saved yet" in words
    assert answer.context["adminform"].form["kind"].value() == "gateway"
    device = Device.objects.get(pk=acme.device.pk)
    assert (device.name, device.site, device.kind) == ("Kim's <phone>", acme.site, "phone")


def test_a_form_that_was_refused_is_saved_when_it_is_sent_again(
    acme: Fleet, colleague: Client, url: str
) -> None:
    client = client_of(acme.manager)
    stale = form_of(client, url) | {"kind": "gateway"}
    colleague.post(url, form_of(colleague, url) | {"name": "Kim's"})
    refused = client.post(url, stale)

    again = stale | dict(MARKS.findall(refused.content.decode()))
    assert client.post(url, again).status_code == 302

    device = Device.objects.get(pk=acme.device.pk)
    assert (device.name, device.kind) == ("", "gateway")


def test_a_decision_is_asked_again_when_there_is_a_newer_change(
    acme: Fleet, colleague: Client, url: str
) -> None:
    client = client_of(acme.manager)
    stale = form_of(client, url)
    colleague.post(url, form_of(colleague, url) | {"name": "Kim's"})
    refused = client.post(url, stale)
    colleague.post(url, form_of(colleague, url) | {"name": "Robin's"})

    answer = client.post(url, stale | dict(MARKS.findall(refused.content.decode())))

    assert "changed this to “Robin's”." in answer.context["adminform"].form.errors["name"][0]


def test_the_same_form_sent_twice_is_saved_twice(acme: Fleet, url: str) -> None:
    client = client_of(acme.manager)
    form = form_of(client, url) | {"name": "Kim's"}

    assert [client.post(url, form).status_code for _ in range(2)] == [302, 302]


@pytest.mark.parametrize("mark", [None, "", "nonsense", ":", "other:1234"])
def test_a_form_without_a_mark_is_saved(
    acme: Fleet, colleague: Client, url: str, mark: str | None
) -> None:
    client = client_of(acme.manager)
    form = form_of(client, url) | {"name": "Robin's", "_shown": mark}
    colleague.post(url, form_of(colleague, url) | {"name": "Kim's"})
    if mark is None:
        del form["_shown"]

    assert client.post(url, form).status_code == 302
    assert Device.objects.get(pk=acme.device.pk).name == "Robin's"


def test_what_devices_say_meanwhile_is_in_nobodys_way(acme: Fleet, url: str) -> None:
    client = client_of(acme.manager)
    form = form_of(client, url) | {"name": "Kim's"}
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)

    assert client.post(url, form).status_code == 302


@pytest.mark.parametrize("kind", ["site", "devicegroup", "tenant", "enrolmenttoken"])
def test_every_kind_of_row_is_kept(acme: Fleet, operator: User, kind: str) -> None:
    token = EnrolmentToken(tenant=acme.tenant, expires_at=timezone.now() + timedelta(days=1))
    token_issue(token=token)
    rows = {
        "site": acme.site,
        "devicegroup": DeviceGroup.objects.create(tenant=acme.tenant, name="vans"),
        "tenant": acme.tenant,
        "enrolmenttoken": token,
    }
    row = rows[kind]
    field = "label" if kind == "enrolmenttoken" else "name"
    url, client = page(f"devices_{kind}_change", row.pk), client_of(operator)
    stale = form_of(client, url)
    assert client.post(url, stale | {field: "first"}).status_code == 302

    answer = client.post(url, stale | {field: "second"})

    assert "has since changed" in answer.context["adminform"].form.errors[field][0]
    row.refresh_from_db()
    assert getattr(row, field) == "first"


def test_a_role_that_was_changed_meanwhile_is_not_put_back(acme: Fleet, operator: User) -> None:
    url, client = page("devices_tenant_change", acme.tenant.pk), client_of(operator)
    stale = form_of(client, url)
    manager = acme.tenant.memberships.get(user=acme.manager)
    first = stale | {"memberships-0-role": "viewer"}
    assert client.post(url, first).status_code == 302

    answer = client.post(url, stale | {"name": "Renamed"})

    (errors,) = answer.context["inline_admin_formsets"][0].formset.errors
    assert "operator has since changed this to “viewer”." in errors["role"][0]
    assert Membership.objects.get(pk=manager.pk).role == Role.VIEWER
    assert Tenant.objects.get(pk=acme.tenant.pk).name == "Acme"

    again = stale | {"name": "Renamed"} | dict(MARKS.findall(answer.content.decode()))
    assert client.post(url, again).status_code == 302
    assert Membership.objects.get(pk=manager.pk).role == Role.MANAGER


def test_of_rows_without_history_nobody_is_said_to_have_changed_them(operator: User) -> None:
    assert latest_differences(operator) == {}
