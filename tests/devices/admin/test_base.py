from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from devices.fleet.keys import (
    speaker_for_key,
)
from devices.models import (
    Credential,
    DeviceGroup,
    Site,
    Tenant,
)
from tests.admin import RECORD_QUERIES, SCOPE_QUERIES, client_of, confirmed, page, person, told_by
from tests.conftest import Fleet


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("index", 5),
        ("devices_tenant_changelist", 5),
        ("devices_tenant_add", 4),
        ("devices_site_changelist", 5),
        ("devices_site_add", 5),
        ("devices_devicegroup_changelist", 5),
        ("devices_devicegroup_add", 5),
        ("devices_credential_changelist", 4),
        ("devices_enrolmenttoken_changelist", 4),
        ("devices_enrolmenttoken_add", 7),
        ("auth_user_changelist", 5),
        ("auth_user_add", 3),
        ("django_celery_beat_periodictask_changelist", 5),
    ],
)
def test_pages_keep_to_their_budget_of_queries(
    acme: Fleet,
    rival: Fleet,
    operator: User,
    django_assert_max_num_queries: Callable[..., Any],
    name: str,
    budget: int,
) -> None:
    client = client_of(operator)
    with django_assert_max_num_queries(budget + SCOPE_QUERIES + RECORD_QUERIES):
        assert client.get(page(name)).status_code == 200


def test_change_pages_keep_to_their_budget_of_queries(
    acme: Fleet, owner: User, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    client = client_of(owner)
    credential = acme.device.credentials.get()
    group = DeviceGroup.objects.create(tenant=acme.tenant, name="vans")
    for name, pk, budget in (
        ("devices_tenant_change", acme.tenant.pk, 6),
        ("devices_site_change", acme.site.pk, 6),
        ("devices_devicegroup_change", group.pk, 6),
        ("devices_credential_change", credential.pk, 8),
        ("devices_credential_revoke", credential.pk, 6),
    ):
        with django_assert_max_num_queries(budget + SCOPE_QUERIES):
            assert client.get(page(name, pk)).status_code == 200


@pytest.mark.parametrize("model", ["tenant", "site", "credential"])
def test_lists_show_only_what_belongs_to_ones_tenants(
    acme: Fleet, rival: Fleet, model: str
) -> None:
    answer = client_of(rival.manager).get(page(f"devices_{model}_changelist"))

    shown = {row.pk for row in answer.context["cl"].result_list}
    own = {
        "tenant": {rival.tenant.pk},
        "site": {rival.site.pk},
        "credential": {rival.device.credentials.get().pk},
    }
    assert shown == own[model]
    assert b"acme" not in told_by(answer)


@pytest.mark.parametrize("view", ["change", "delete", "history"])
@pytest.mark.parametrize("model", ["tenant", "site", "credential"])
def test_pages_of_another_tenant_are_as_good_as_missing(
    acme: Fleet, rival: Fleet, model: str, view: str
) -> None:
    foreign = {
        "tenant": acme.tenant.pk,
        "site": acme.site.pk,
        "credential": acme.device.credentials.get().pk,
    }[model]
    client = client_of(rival.manager)

    for answer in (
        client.get(page(f"devices_{model}_{view}", foreign)),
        client.post(page(f"devices_{model}_{view}", foreign), {"name": "taken", "post": "yes"}),
    ):
        assert answer.status_code in (302, 403)
        assert b"acme" not in told_by(answer)
    assert Tenant.objects.get(pk=acme.tenant.pk).name == "Acme"
    assert Site.objects.filter(pk=acme.site.pk, name="acme site").exists()


def test_choices_offer_only_ones_own_tenants(acme: Fleet, rival: Fleet) -> None:
    client = client_of(rival.manager)

    form = client.get(page("devices_site_add")).context["adminform"].form
    assert list(form.fields["tenant"].queryset) == [rival.tenant]
    assert form.initial["tenant"] == rival.tenant.pk

    answer = client.post(page("devices_site_add"), {"tenant": acme.tenant.pk, "name": "intruder"})
    assert answer.status_code == 200
    assert not Site.objects.filter(name="intruder").exists()


def test_searching_for_choices_finds_nothing_of_another_tenant(acme: Fleet, rival: Fleet) -> None:
    asked = {"app_label": "devices", "model_name": "device", "field_name": "site"}
    answer = client_of(rival.manager).get(page("autocomplete"), asked)

    assert [one["text"] for one in answer.json()["results"]] == ["rival site"]


def test_a_viewer_reads_and_changes_nothing(acme: Fleet, viewer: User) -> None:
    client = client_of(viewer)
    site = page("devices_site_change", acme.site.pk)
    credential = acme.device.credentials.get()

    assert client.get(site).context["has_change_permission"] is False
    assert client.post(site, {"name": "renamed"}).status_code == 403
    assert client.get(page("devices_site_add")).status_code == 403
    assert (
        client.post(page("devices_site_delete", acme.site.pk), {"post": "yes"}).status_code == 403
    )
    assert client.post(page("devices_credential_revoke", credential.pk)).status_code == 403
    assert Site.objects.get(pk=acme.site.pk).name == "acme site"
    assert speaker_for_key(acme.key) is not None


def test_a_member_sees_nothing_of_the_installation(owner: User) -> None:
    client = client_of(owner)

    for name in (
        *("auth_user_changelist", "auth_user_add"),
        *("django_celery_beat_periodictask_changelist", "devices_tenant_add"),
    ):
        assert client.get(page(name)).status_code == 403


def test_who_is_added_with_an_address_signs_in_with_it(operator: User) -> None:
    client, password = client_of(operator), "an otter's umbrella"
    form = {"username": "nadia", "email": "nadia@example.org", "usable_password": "true"}
    form |= {"password1": password, "password2": password}

    assert b"LDAP" not in client.get(page("auth_user_add")).content
    assert client.post(page("auth_user_add"), form).status_code == 302

    login = {"login": "nadia@example.org", "password": password}
    newcomer = Client()
    assert newcomer.post("/accounts/login/", login).status_code == 302
    assert b"not a member of any tenant" in newcomer.get(page("index")).content
    listed = client.get(page("auth_user_changelist")).content
    assert b"May sign in" in listed
    assert b"Superuser" not in listed


def test_staff_without_a_tenant_is_told_what_to_do(db: None) -> None:
    client = client_of(person("newcomer"))

    assert b"not a member of any tenant" in client.get(page("index")).content
    assert client.get(page("devices_device_changelist")).status_code == 403


def test_addresses_that_the_database_cannot_understand_lead_back_to_the_list(acme: Fleet) -> None:
    client = client_of(acme.manager)
    changes, groups = (
        page("devices_historyentry_changelist"),
        page("devices_devicegroup_changelist"),
    )
    for address in (
        f"{groups}?name__regex=(",
        f"{changes}?at__year=0",
        f"{changes}?at__year=1{'0' * 400}",
        f"{changes}?who__regex=[",
    ):
        answer = client.get(address)
        assert (answer.status_code, answer["Location"].endswith("?e=1")) == (302, True), address
        assert client.get(answer["Location"]).status_code == 200


@pytest.mark.parametrize("chosen", ["", "abc", "1; DROP TABLE devices_device"])
def test_rows_that_cannot_be_any_are_acted_upon_by_nobody(acme: Fleet, chosen: str) -> None:
    form = {"action": "revoke_selected", "_selected_action": [acme.device.pk, chosen]}
    answer = client_of(acme.manager).post(page("devices_credential_changelist"), form)
    assert answer.status_code == 400
    assert not Credential.objects.exclude(revoked_at=None).exists()


def test_a_row_is_acted_upon_only_as_the_list_writes_it(acme: Fleet) -> None:
    url, client = page("devices_credential_changelist"), client_of(acme.manager)
    key = Credential.objects.get(device=acme.device)
    Credential.objects.filter(pk=key.pk).update(id=10)
    form = {"action": "revoke_selected"}
    for chosen in ("1_0", "010", " 10", "+10", "١٠"):
        answer = client.post(url, {**form, "_selected_action": [chosen]})
        assert answer.status_code == 400, chosen
    assert not Credential.objects.exclude(revoked_at=None).exists()
    confirmed(client, url, {**form, "_selected_action": ["10"]})
    assert Credential.objects.exclude(revoked_at=None).get().pk == 10


@pytest.mark.parametrize("name", ["auth_user", "devices_failedsignin"])
@pytest.mark.parametrize("chosen", ["abc", "1_0", "\0"])
def test_rows_of_the_installation_that_cannot_be_any_are_refused(
    operator: User, name: str, chosen: str
) -> None:
    form = {"action": "delete_selected", "_selected_action": [chosen], "post": "yes"}
    answer = client_of(operator).post(page(f"{name}_changelist"), form)
    assert answer.status_code == 400
