from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from devices.fleet.keys import (
    gateway_credential_issue,
)
from devices.models import (
    Invitation,
    Tenant,
)
from devices.people.invitations import invitation_issue
from devices.tenancy.access import Role
from tests.admin import client_of, page, person
from tests.conftest import Fleet


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


def test_a_member_is_added_by_user_name_by_who_may_see_the_person(
    acme: Fleet, owner: User, operator: User
) -> None:
    person("newcomer")
    form = members_form(acme.tenant, ("newcomer", Role.VIEWER))
    url = page("devices_tenant_change", acme.tenant.pk)

    refused = client_of(owner).post(url, form)
    assert refused.status_code == 200
    assert b"There is no user with this name" in refused.content

    added = {**form, "name": "Acme", "slug": "acme", "device_limit": 10, "is_active": "on"}
    assert client_of(operator).post(url, added).status_code == 302
    assert acme.tenant.memberships.get(user__username="newcomer").role == Role.VIEWER


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nobody", b"There is no user with this name"), ("acme-manager", b"correct the duplicate")],
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


def test_members_are_links_only_for_who_may_change_them(acme: Fleet, viewer: User) -> None:
    url = page("devices_tenant_change", acme.tenant.pk)
    content = client_of(viewer).get(url).content.decode()
    assert "acme-manager" in content
    assert "/admin/auth/user/" not in content


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


def test_owners_set_the_policy_and_operators_the_limit(acme: Fleet, owner: User) -> None:
    form = members_form(acme.tenant) | {"registration": "pending", "device_limit": 5}

    client_of(owner).post(page("devices_tenant_change", acme.tenant.pk), form)

    tenant = Tenant.objects.get(pk=acme.tenant.pk)
    assert (tenant.registration, tenant.device_limit) == ("pending", 10_000)


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
        assert b"needs at least one owner" in answer.content
    assert acme.tenant.memberships.get(user=owner).role == Role.OWNER

    handed_over = alone | {
        f"memberships-{index}-role": "viewer",
        f"memberships-{1 - index}-role": "owner",
    }
    assert client_of(owner).post(url, handed_over).status_code == 302
    assert acme.tenant.memberships.get(role=Role.OWNER).user == acme.manager


def test_the_last_owner_stays_though_the_form_of_one_is_sent_twice(
    acme: Fleet, owner: User
) -> None:
    form = members_form(acme.tenant)
    index = next(i for i in range(2) if form[f"memberships-{i}-user"] == "acme-owner")
    own = {name: form[f"memberships-{index}-{name}"] for name in ("id", "tenant", "user", "role")}
    form |= {f"memberships-2-{name}": value for name, value in own.items()}
    form |= {"memberships-INITIAL_FORMS": 3, "memberships-TOTAL_FORMS": 3}

    answer = client_of(owner).post(
        page("devices_tenant_change", acme.tenant.pk), form | {"memberships-2-DELETE": "on"}
    )

    assert b"needs at least one owner" in answer.content
    assert acme.tenant.memberships.get(user=owner).role == Role.OWNER


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MANAGER])
def test_nobody_raises_their_own_role(acme: Fleet, rival: Fleet, role: Role) -> None:
    member = person("climber", (acme.tenant, role), (rival.tenant, Role.OWNER))
    form = members_form(acme.tenant)
    index = next(i for i in range(2) if form[f"memberships-{i}-user"] == "climber")

    client_of(member).post(
        page("devices_tenant_change", acme.tenant.pk), form | {f"memberships-{index}-role": "owner"}
    )

    assert acme.tenant.memberships.get(user=member).role == role
