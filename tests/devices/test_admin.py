from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from devices.admin import SiteAdmin
from devices.credentials import (
    credential_issue,
    gateway_credential_issue,
    speaker_for_key,
)
from devices.enrolment import token_issue
from devices.invitations import invitation_issue
from devices.models import (
    Credential,
    Device,
    DeviceGroup,
    EnrolmentToken,
    Invitation,
    Site,
    Tenant,
)
from devices.tenancy import Role
from tests.admin import RECORD_QUERIES, SCOPE_QUERIES, client_of, page, person
from tests.conftest import Fleet
from tests.two_at_once import elsewhere


@pytest.fixture
def viewer(acme: Fleet) -> User:
    return person("acme-viewer", (acme.tenant, Role.VIEWER))


@pytest.fixture
def owner(acme: Fleet) -> User:
    return person("acme-owner", (acme.tenant, Role.OWNER))


def members_form(tenant: Tenant, *added: tuple[str, Role]) -> dict[str, Any]:
    """What the tenant's page posts when nothing but new members are filled in."""
    held = list(tenant.memberships.order_by("user__username"))
    form: dict[str, Any] = {
        "name": tenant.name,
        "registration": tenant.registration,
        "default_interval_s": tenant.default_interval_s,
        "default_grace_s": tenant.default_grace_s,
        "memberships-INITIAL_FORMS": len(held),
        "memberships-TOTAL_FORMS": len(held) + len(added),
    }
    for index, one in enumerate(held):
        form |= {
            f"memberships-{index}-id": one.pk,
            f"memberships-{index}-tenant": tenant.pk,
            f"memberships-{index}-user": one.user.get_username(),
            f"memberships-{index}-role": one.role,
        }
    for index, (name, role) in enumerate(added, len(held)):
        form |= {
            f"memberships-{index}-tenant": tenant.pk,
            f"memberships-{index}-user": name,
            f"memberships-{index}-role": role,
        }
    return form


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
        ("auth_group_changelist", 5),
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
    assert b"acme" not in answer.content.lower()


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
        assert b"acme" not in answer.content.lower()
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


def test_a_filter_does_not_name_a_site_of_another_tenant(acme: Fleet, rival: Fleet) -> None:
    url = page("devices_device_changelist")
    answer = client_of(rival.manager).get(url, {"site__id__exact": acme.site.pk})

    assert answer.status_code == 200
    assert b"acme" not in answer.content.lower()


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
        *("auth_user_changelist", "auth_user_add", "auth_group_changelist"),
        *("django_celery_beat_periodictask_changelist", "devices_tenant_add"),
    ):
        assert client.get(page(name)).status_code == 403


def test_staff_without_a_tenant_is_told_what_to_do(db: None) -> None:
    client = client_of(person("newcomer"))

    assert b"not a member of any tenant" in client.get(page("index")).content
    assert client.get(page("devices_device_changelist")).status_code == 403


def test_a_member_is_added_by_user_name_by_who_may_see_the_person(
    acme: Fleet, owner: User, operator: User
) -> None:
    person("newcomer")
    form = members_form(acme.tenant, ("newcomer", Role.VIEWER))
    url = page("devices_tenant_change", acme.tenant.pk)

    refused = client_of(owner).post(url, form)
    assert refused.status_code == 200
    assert b"Nobody has this user name." in refused.content

    added = {**form, "name": "Acme", "slug": "acme", "device_limit": 10, "is_active": "on"}
    assert client_of(operator).post(url, added).status_code == 302
    assert acme.tenant.memberships.get(user__username="newcomer").role == Role.VIEWER


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nobody", b"Nobody has this user name."), ("acme-manager", b"correct the duplicate")],
)
def test_a_member_is_refused_with_the_reason(
    acme: Fleet, owner: User, name: str, reason: bytes
) -> None:
    form = members_form(acme.tenant, (name, Role.OWNER))

    answer = client_of(owner).post(page("devices_tenant_change", acme.tenant.pk), form)

    assert answer.status_code == 200
    assert reason in answer.content
    assert acme.tenant.memberships.count() == 2


def test_a_manager_does_not_choose_members(acme: Fleet) -> None:
    form = members_form(acme.tenant, ("acme-manager", Role.OWNER))

    answer = client_of(acme.manager).post(page("devices_tenant_change", acme.tenant.pk), form)

    assert answer.status_code == 403
    assert acme.tenant.memberships.get().role == Role.MANAGER


def test_an_owner_keeps_the_slug_and_cannot_close_the_tenant(acme: Fleet, owner: User) -> None:
    form = members_form(acme.tenant) | {"name": "Acme Ltd", "slug": "other"}

    client_of(owner).post(page("devices_tenant_change", acme.tenant.pk), form)

    tenant = Tenant.objects.get(pk=acme.tenant.pk)
    assert (tenant.name, tenant.slug, tenant.is_active) == ("Acme Ltd", "acme", True)


def test_a_tenant_with_devices_is_not_deleted(acme: Fleet, operator: User) -> None:
    url = page("devices_tenant_delete", acme.tenant.pk)

    assert client_of(operator).post(url, {"post": "yes"}).status_code == 403
    assert Tenant.objects.filter(pk=acme.tenant.pk).exists()


def test_a_name_that_is_taken_in_the_tenant_is_refused_in_words(acme: Fleet) -> None:
    Site.objects.create(tenant=acme.tenant, name="taken")

    answer = client_of(acme.manager).post(
        page("devices_site_change", acme.site.pk), {"name": "taken"}
    )

    assert answer.status_code == 200
    assert answer.context["errors"]


def test_a_site_stays_with_its_tenant(acme: Fleet, rival: Fleet, operator: User) -> None:
    form = {"name": "moved", "tenant": rival.tenant.pk}

    client_of(operator).post(page("devices_site_change", acme.site.pk), form)

    site = Site.objects.get(pk=acme.site.pk)
    assert (site.name, site.tenant) == ("moved", acme.tenant)


def test_a_key_is_revoked_only_by_posting(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_credential_revoke", acme.device.credentials.get().pk)

    assert client.get(url).status_code == 200
    assert speaker_for_key(acme.key) is not None

    assert client.post(url).status_code == 302
    assert speaker_for_key(acme.key) is None


def test_revoking_needs_the_form_of_this_site(acme: Fleet) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.manager)

    url = page("devices_credential_revoke", acme.device.credentials.get().pk)
    assert client.post(url).status_code == 403
    assert speaker_for_key(acme.key) is not None


def test_keys_are_revoked_together_where_the_person_is_a_manager(acme: Fleet, rival: Fleet) -> None:
    both = person("consultant", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER))
    ids = [fleet.device.credentials.get().pk for fleet in (acme, rival)]

    client_of(both).post(
        page("devices_credential_changelist"),
        {"action": "revoke_selected", "_selected_action": ids},
    )

    assert speaker_for_key(acme.key) is None
    assert speaker_for_key(rival.key) is not None


def test_no_page_shows_a_hash_nor_finds_a_key_by_it(acme: Fleet) -> None:
    credential = acme.device.credentials.get()
    client = client_of(acme.manager)

    for url in (
        page("devices_credential_changelist"),
        page("devices_credential_change", credential.pk),
        page("devices_device_change", acme.device.pk),
    ):
        content = client.get(url).content
        assert credential.prefix.encode() in content
        assert bytes(credential.secret_sha256).hex().encode() not in content
        assert b"sha256" not in content
    guess = {"secret_sha256__gt": "0"}
    assert client.get(page("devices_credential_changelist"), guess).status_code == 400


def test_what_a_list_shows_of_a_key_finds_it(acme: Fleet) -> None:
    prefix = credential_issue(device=acme.device).credential.prefix
    token = EnrolmentToken(tenant=acme.tenant, expires_at=timezone.now() + timedelta(days=1))
    token_issue(token=token)
    client = client_of(acme.manager)
    for name, shown in (("credential", f"rc_{prefix}"), ("enrolmenttoken", f"rt_{token.prefix}")):
        for term in (shown, f"{shown}_…"):
            found = client.get(page(f"devices_{name}_changelist"), {"q": term}).context["cl"]
            assert len(found.result_list) == 1, term
        nothing = client.get(page(f"devices_{name}_changelist"), {"q": f"{shown}x"}).context["cl"]
        assert len(nothing.result_list) == 0


def test_members_are_links_only_for_who_may_change_them(acme: Fleet, viewer: User) -> None:
    url = page("devices_tenant_change", acme.tenant.pk)
    content = client_of(viewer).get(url).content.decode()
    assert "acme-manager" in content
    assert "/admin/auth/user/" not in content


def test_a_device_is_deleted_with_its_keys(acme: Fleet) -> None:
    credential_issue(device=acme.device)
    url = page("devices_device_delete", acme.device.pk)

    assert client_of(acme.manager).post(url, {"post": "yes"}).status_code == 302
    assert not Device.objects.filter(pk=acme.device.pk).exists()
    assert not Credential.objects.exists()


def test_a_tenant_without_devices_is_deleted_with_all_that_is_its_own(
    acme: Fleet, rival: Fleet, operator: User
) -> None:
    acme.device.delete()
    gateway_credential_issue(tenant=acme.tenant, label="")
    invitation = Invitation(tenant=acme.tenant, email="r@example.org", role=Role.VIEWER)
    invitation_issue(invitation=invitation, ts=timezone.now())
    url = page("devices_tenant_delete", acme.tenant.pk)

    assert client_of(operator).post(url, {"post": "yes"}).status_code == 302
    assert list(Tenant.objects.all()) == [rival.tenant]


def test_a_gateway_key_is_shown_once_and_speaks_for_its_tenant(acme: Fleet, rival: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_tenant_issue_gateway_key", acme.tenant.pk)
    assert client.get(url).status_code == 200
    assert not Credential.objects.filter(device=None).exists()

    answer = client.post(url, {"label": "roof"})

    key = answer.context["key"]
    assert f"Bearer {key}" in answer.content.decode().replace("&#x27;", "'")
    assert "/api/v1/readings" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    speaker = speaker_for_key(key)
    assert speaker is not None
    assert (speaker.tenant_id, speaker.id) == (acme.tenant.pk, None)
    assert key not in client.get(page("devices_tenant_change", acme.tenant.pk)).content.decode()


def test_gateway_keys_are_issued_by_managers_of_the_tenant(
    acme: Fleet, rival: Fleet, viewer: User, owner: User
) -> None:
    url = page("devices_tenant_issue_gateway_key", acme.tenant.pk)

    for user in (rival.manager, viewer):
        assert client_of(user).post(url, {"label": "x"}).status_code == 403
    assert not Credential.objects.filter(device=None).exists()
    change = page("devices_tenant_change", acme.tenant.pk)
    assert client_of(viewer).get(change).context["actions_detail"] == []
    for user in (acme.manager, owner):
        assert len(client_of(user).get(change).context["actions_detail"]) == 1
        assert client_of(user).post(url, {"label": "x"}).status_code == 200


def test_gateway_keys_are_listed_and_revoked(acme: Fleet, rival: Fleet) -> None:
    issued = gateway_credential_issue(tenant=acme.tenant, label="roof")
    client = client_of(acme.manager)
    changelist = page("devices_credential_changelist")

    assert b">gateway<" in client.get(changelist).content
    shown = client.get(changelist, {"of": "gateways"}).context["cl"].result_list
    assert [row.pk for row in shown] == [issued.credential.pk]
    assert client.get(page("devices_credential_change", issued.credential.pk)).status_code == 200
    revoke = page("devices_credential_revoke", issued.credential.pk)
    assert client_of(rival.manager).post(revoke).status_code == 403
    assert b"every gateway of Acme" in client.get(revoke).content

    answer = client.post(revoke)

    assert answer["Location"] == page("devices_tenant_change", acme.tenant.pk)
    assert speaker_for_key(issued.key) is None


def test_owners_set_the_policy_and_operators_the_limit(acme: Fleet, owner: User) -> None:
    form = members_form(acme.tenant) | {"registration": "pending", "device_limit": 5}

    client_of(owner).post(page("devices_tenant_change", acme.tenant.pk), form)

    tenant = Tenant.objects.get(pk=acme.tenant.pk)
    assert (tenant.registration, tenant.device_limit) == ("pending", 10_000)


def token_form(fleet: Fleet, **fields: Any) -> dict[str, Any]:
    in_a_week = timezone.now() + timedelta(days=7)
    return {
        "tenant": fleet.tenant.pk,
        "site": fleet.site.pk,
        "label": "hall",
        "max_uses": 3,
        "expires_at_0": in_a_week.strftime("%Y-%m-%d"),
        "expires_at_1": "12:00:00",
    } | fields


def token_of(fleet: Fleet) -> EnrolmentToken:
    expires_at = timezone.now() + timedelta(days=7)
    token = EnrolmentToken(tenant=fleet.tenant, label=fleet.tenant.slug, expires_at=expires_at)
    token_issue(token=token)
    return token


def test_a_token_is_shown_once_with_its_code(acme: Fleet) -> None:
    client = client_of(acme.manager)

    answer = client.post(page("devices_enrolmenttoken_add"), token_form(acme))

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    text, content = answer.context["token"], answer.content.decode()
    assert text in content
    assert "<svg" in content
    assert answer.context["code_text"] == (
        f'{{"url": "http://testserver/api/v1/enrol", "token": "{text}"}}'
    )
    token = EnrolmentToken.objects.get()
    assert (token.tenant, token.site, token.uses_left) == (acme.tenant, acme.site, 3)
    for url in (
        page("devices_enrolmenttoken_changelist"),
        page("devices_enrolmenttoken_change", token.pk),
    ):
        again = client.get(url).content.decode()
        assert text not in again
        assert token.prefix in again
        assert "sha256" not in again


@pytest.mark.parametrize(
    "fields", [{"expires_at_0": "2020-01-01"}, {"max_uses": 0}, {"expires_at_0": ""}]
)
def test_a_token_that_would_be_good_for_nothing_is_not_made(
    acme: Fleet, fields: dict[str, Any]
) -> None:
    url = page("devices_enrolmenttoken_add")
    answer = client_of(acme.manager).post(url, token_form(acme, **fields))

    assert answer.context["errors"]
    assert not EnrolmentToken.objects.exists()


def test_a_token_is_of_ones_own_tenant_and_site(acme: Fleet, rival: Fleet, operator: User) -> None:
    url = page("devices_enrolmenttoken_add")

    for user, form in (
        (rival.manager, token_form(acme)),
        (rival.manager, token_form(rival, site=acme.site.pk)),
        (operator, token_form(rival, site=acme.site.pk)),
    ):
        assert client_of(user).post(url, form).context["errors"]
    assert not EnrolmentToken.objects.exists()


def test_tokens_of_another_tenant_are_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    token = token_of(acme)
    client = client_of(rival.manager)

    assert b"acme" not in client.get(page("devices_enrolmenttoken_changelist")).content.lower()
    for name in ("change", "revoke", "history"):
        url = page(f"devices_enrolmenttoken_{name}", token.pk)
        for answer in (client.get(url), client.post(url, {"label": "taken"})):
            assert answer.status_code in (302, 403)
            assert b"acme" not in answer.content.lower()
    chosen = {"action": "revoke_selected", "_selected_action": [token.pk]}
    client.post(page("devices_enrolmenttoken_changelist"), chosen)

    token.refresh_from_db()
    assert (token.label, token.revoked_at) == ("acme", None)


def test_a_viewer_makes_and_revokes_no_tokens(acme: Fleet, viewer: User) -> None:
    token = token_of(acme)
    client = client_of(viewer)

    assert client.get(page("devices_enrolmenttoken_changelist")).status_code == 200
    add = page("devices_enrolmenttoken_add")
    assert client.post(add, token_form(acme)).status_code == 403
    revoke = page("devices_enrolmenttoken_revoke", token.pk)
    assert client.post(revoke).status_code == 403
    assert EnrolmentToken.objects.get().revoked_at is None


def test_a_token_is_revoked_only_by_posting(acme: Fleet) -> None:
    token = token_of(acme)
    client = client_of(acme.manager)
    url = page("devices_enrolmenttoken_revoke", token.pk)

    assert client.get(url).status_code == 200
    assert EnrolmentToken.objects.get().revoked_at is None
    assert client.post(url).status_code == 302

    assert EnrolmentToken.objects.get().revoked_at is not None
    assert b"revoked" in client.get(page("devices_enrolmenttoken_changelist")).content
    change = page("devices_enrolmenttoken_change", token.pk)
    assert client.get(change).context["actions_detail"] == []


def test_of_a_token_only_the_label_changes(acme: Fleet) -> None:
    token = token_of(acme)
    form = token_form(acme, label="new", max_uses=50)

    url = page("devices_enrolmenttoken_change", token.pk)
    assert client_of(acme.manager).post(url, form).status_code == 302

    token.refresh_from_db()
    assert (token.label, token.max_uses, token.uses_left) == ("new", 1, 1)


@pytest.fixture
def foreign_group(rival: Fleet) -> DeviceGroup:
    return DeviceGroup.objects.create(tenant=rival.tenant, name="rival vans")


def test_a_group_is_made_and_gathers_devices(acme: Fleet, foreign_group: DeviceGroup) -> None:
    client = client_of(acme.manager)
    form = {"tenant": acme.tenant.pk, "name": "vans", "description": "With a tracker"}

    assert client.post(page("devices_devicegroup_add"), form).status_code == 302
    group = DeviceGroup.objects.get(tenant=acme.tenant)
    acme.device.group = group
    acme.device.save()

    listed = client.get(page("devices_devicegroup_changelist"))
    assert [(row.name, row.device_count) for row in listed.context["cl"].result_list] == [
        ("vans", 1)
    ]
    assert b"rival" not in listed.content.lower()
    devices = client.get(page("devices_device_changelist"), {"group__id__exact": group.pk})
    assert [row.device_id for row in devices.context["cl"].result_list] == ["acme-phone"]
    group.delete()
    acme.device.refresh_from_db()
    assert acme.device.group is None


def test_a_name_that_another_group_has_is_refused(acme: Fleet) -> None:
    DeviceGroup.objects.create(tenant=acme.tenant, name="vans")
    form = {"tenant": acme.tenant.pk, "name": "vans"}

    answer = client_of(acme.manager).post(page("devices_devicegroup_add"), form)

    assert answer.status_code == 200
    assert DeviceGroup.objects.count() == 1


def test_a_group_of_another_tenant_is_as_good_as_missing(
    acme: Fleet, foreign_group: DeviceGroup
) -> None:
    client = client_of(acme.manager)

    for view in ("change", "delete", "history"):
        url = page(f"devices_devicegroup_{view}", foreign_group.pk)
        for answer in (client.get(url), client.post(url, {"name": "taken", "post": "yes"})):
            assert answer.status_code in (302, 403)
    assert DeviceGroup.objects.get().name == "rival vans"


@pytest.mark.parametrize("model", [Device, EnrolmentToken])
def test_nothing_joins_a_group_of_another_tenant(
    acme: Fleet, foreign_group: DeviceGroup, model: type[Device] | type[EnrolmentToken]
) -> None:
    with pytest.raises(ValidationError) as refused:
        model(tenant=acme.tenant, group=foreign_group).clean()

    assert refused.value.message_dict == {"group": ["This group belongs to another tenant."]}


def test_a_burst_without_a_rate_is_refused_in_words(acme: Fleet) -> None:
    acme.tenant.burst = acme.tenant.device_burst = 5
    acme.device.burst = 5

    for row, fields in ((acme.tenant, {"burst", "device_burst"}), (acme.device, {"burst"})):
        with pytest.raises(ValidationError) as refused:
            row.clean()
        assert set(refused.value.message_dict) == fields
        assert "messages a second" in str(refused.value)


def test_an_owner_limits_each_device_but_not_the_tenant(acme: Fleet, owner: User) -> None:
    limits = {"rate_per_s": "9", "burst": "9", "device_rate_per_s": "0.5", "device_burst": "3"}
    url = page("devices_tenant_change", acme.tenant.pk)

    assert client_of(owner).post(url, members_form(acme.tenant) | limits).status_code == 302

    tenant = Tenant.objects.get(pk=acme.tenant.pk)
    assert (tenant.rate_per_s, tenant.burst) == (None, None)
    assert (tenant.device_rate_per_s, tenant.device_burst) == (0.5, 3)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "1e9"])
def test_a_rate_that_is_none_is_refused(acme: Fleet, owner: User, rate: str) -> None:
    form = members_form(acme.tenant) | {"device_rate_per_s": rate}

    answer = client_of(owner).post(page("devices_tenant_change", acme.tenant.pk), form)

    assert answer.status_code == 200
    assert Tenant.objects.get(pk=acme.tenant.pk).device_rate_per_s is None


def test_an_owner_does_not_leave_a_tenant_without_one(acme: Fleet, owner: User) -> None:
    url = page("devices_tenant_change", acme.tenant.pk)
    alone = members_form(acme.tenant)
    index = next(i for i in range(2) if alone[f"memberships-{i}-user"] == "acme-owner")
    for change in ({"role": "viewer"}, {"DELETE": "on"}):
        form = alone | {f"memberships-{index}-{name}": value for name, value in change.items()}
        answer = client_of(owner).post(url, form)
        assert b"keeps at least one owner" in answer.content
    assert acme.tenant.memberships.get(user=owner).role == Role.OWNER

    handed_over = alone | {
        f"memberships-{index}-role": "viewer",
        f"memberships-{1 - index}-role": "owner",
    }
    assert client_of(owner).post(url, handed_over).status_code == 302
    assert acme.tenant.memberships.get(role=Role.OWNER).user == acme.manager


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MANAGER])
def test_nobody_raises_their_own_role(acme: Fleet, rival: Fleet, role: Role) -> None:
    member = person("climber", (acme.tenant, role), (rival.tenant, Role.OWNER))
    form = members_form(acme.tenant)
    index = next(i for i in range(2) if form[f"memberships-{i}-user"] == "climber")

    client_of(member).post(
        page("devices_tenant_change", acme.tenant.pk), form | {f"memberships-{index}-role": "owner"}
    )

    assert acme.tenant.memberships.get(user=member).role == role


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


@pytest.mark.parametrize(
    "address",
    [
        "/admin/devices/device/?kind=%00",
        "/admin/devices/historyentry/member-%00/change/",
        "/admin/devices/historyentry/?origin__path=a%00b",
        "/accounts/oidc/%00/login/",
    ],
)
def test_an_address_with_a_nul_is_refused(address: str, acme: Fleet) -> None:
    assert client_of(acme.manager).get(address).status_code == 400


def test_when_a_token_expires_is_not_for_an_address_to_say(acme: Fleet) -> None:
    address = page("devices_enrolmenttoken_add")
    answer = client_of(acme.manager).get(f"{address}?expires_at=2020-01-01&label=lobby")
    assert answer.status_code == 200
    assert "lobby" in answer.content.decode()


@pytest.mark.parametrize("chosen", ["", "abc", "1; DROP TABLE devices_device"])
def test_rows_that_cannot_be_any_are_acted_upon_by_nobody(acme: Fleet, chosen: str) -> None:
    form = {"action": "revoke_selected", "_selected_action": [acme.device.pk, chosen]}
    answer = client_of(acme.manager).post(page("devices_credential_changelist"), form)
    assert answer.status_code == 400
    assert not Credential.objects.exclude(revoked_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_a_site_that_a_device_joins_as_it_is_deleted_stays_and_the_page_says_why(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(self: Any, request: Any, obj: Site) -> None:
        # Between Django's look at what belongs to the site and its deletion.
        elsewhere(lambda: Device.objects.create(tenant=acme.tenant, device_id="new", site=obj))
        Site.objects.filter(pk=obj.pk)._raw_delete(using="default")

    monkeypatch.setattr(SiteAdmin, "delete_model", delete)
    address = page("devices_site_delete", acme.site.pk)

    answer = client_of(acme.manager).post(address, {"post": "yes"}, follow=True)

    assert "Somebody else changed this at the same moment" in answer.content.decode()
    assert Device.objects.get(device_id="new").site == acme.site
