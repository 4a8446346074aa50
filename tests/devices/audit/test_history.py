"""Every change to a tenant's rows is recorded for that tenant, with who made it and from where."""

import json
from datetime import timedelta
from functools import partial

import pytest
from celery import shared_task
from django.core.exceptions import FieldDoesNotExist
from django.db import ProgrammingError, connection, transaction
from django.test import Client
from django.utils import timezone

from devices.fleet.enrolment import token_issue
from devices.fleet.keys import credentials_revoke
from devices.models import (
    Credential,
    Device,
    DeviceGroup,
    EnrolmentToken,
    HistoryEntry,
    Invitation,
    Membership,
    Tenant,
)
from devices.people.invitations import invitation_issue
from devices.tenancy.access import Role
from devices.tenancy.scope import operator_scope, tenant_scope
from scripts.stack import Stack
from tests.admin import client_of, inviter, page, person
from tests.conftest import Fleet
from tests.devices.audit.changes import CHANGES, changes_of, edit, words
from tests.stack_data import query


def test_a_change_in_the_admin_names_who_when_what_and_the_request(acme: Fleet) -> None:
    before = timezone.now()
    answer = edit(client_of(acme.manager), acme, name="Kim's phone", site=acme.site.pk)
    assert answer.status_code == 302

    added, changed = changes_of(acme.device)
    assert (added.change, changed.change) == ("insert", "update")
    assert words(changed) == "device acme-phone changed; name: – → Kim's phone, site: – → acme site"
    assert changed.who == "acme-manager"
    assert before - timedelta(minutes=1) < changed.at <= timezone.now()
    assert changed.origin == {
        "method": "POST",
        "path": page("devices_device_change", acme.device.pk),
        "address": "10.0.0.7",
        "request_id": answer.headers["X-Request-ID"],
        "user": acme.manager.pk,
        "username": "acme-manager",
    }


def test_a_change_over_the_api_names_who_and_the_request(acme: Fleet) -> None:
    url = f"/api/v1/devices/{acme.device.device_id}"
    answer = client_of(acme.manager).patch(
        url, {"name": "Kim's phone"}, content_type="application/json"
    )
    assert answer.status_code == 200

    changed = changes_of(acme.device)[-1]
    assert words(changed) == "device acme-phone changed; name: – → Kim's phone"
    assert changed.who == "acme-manager"
    assert changed.origin is not None
    assert changed.origin["path"] == url
    assert changed.origin["request_id"] == answer.headers["X-Request-ID"]


def test_changes_in_bulk_and_by_hand_are_seen(acme: Fleet) -> None:
    Device.objects.bulk_create(Device(tenant=acme.tenant, device_id=f"bulk-{n}") for n in range(3))
    assert Device.objects.filter(device_id__startswith="bulk").update(grace_s=5) == 3
    with connection.cursor() as cursor:
        cursor.execute("UPDATE devices_device SET kind = 'probe' WHERE device_id = 'bulk-1'")
    Device.objects.filter(device_id__startswith="bulk").delete()

    kept = HistoryEntry.objects.filter(object_name__startswith="bulk").order_by("number")
    counts = [kept.filter(change=change).count() for change in ("insert", "update", "delete")]
    assert counts == [3, 4, 3]
    by_hand = kept.get(object_name="bulk-1", change="update", data__kind="probe")
    assert words(by_hand) == "device bulk-1 changed; kind: sensor → probe"


def test_what_did_not_change_leaves_no_entry(acme: Fleet) -> None:
    acme.device.save()
    Device.objects.filter(pk=acme.device.pk).update(name=acme.device.name)
    assert [one.change for one in changes_of(acme.device)] == ["insert"]


def test_keys_are_in_the_history_without_their_secrets(acme: Fleet) -> None:
    credential = Credential.objects.get(device=acme.device)
    credentials_revoke(ids=[credential.pk], ts=timezone.now())

    added, revoked = changes_of(credential)
    assert "revoked at: – → " in words(revoked)
    for entry in (added, revoked):
        assert not {"secret_sha256", "mqtt_password_hash"} & entry.data.keys()
    text = json.dumps([added.data, revoked.data])
    assert credential.mqtt_password_hash not in text
    assert acme.key.rpartition("_")[2] not in text
    for name in ("secret_sha256", "mqtt_password_hash"):
        with pytest.raises(FieldDoesNotExist):
            Credential.pgh_event_model._meta.get_field(name)  # type: ignore[attr-defined]


def test_members_come_and_go_by_their_names(acme: Fleet) -> None:
    member = person("ada", (acme.tenant, Role.VIEWER))
    membership = Membership.objects.get(user=member)
    membership.role = Role.OWNER
    membership.save()
    pk = membership.pk
    membership.delete()
    membership.pk = pk

    added, changed, removed = changes_of(membership)
    assert words(added) == "member ada added; user: ada, role: viewer"
    assert words(changed) == "member ada changed; role: viewer → owner"
    assert words(removed) == "member ada removed; "


def test_groups_are_in_the_history(acme: Fleet) -> None:
    group = DeviceGroup.objects.create(tenant=acme.tenant, name="Trucks")
    DeviceGroup.objects.filter(pk=group.pk).update(name="Vans")
    assert [words(one) for one in changes_of(group)] == [
        "group Trucks added; name: Trucks",
        "group Vans changed; name: Trucks → Vans",
    ]


def test_an_accepted_invitation_names_who_and_keeps_its_link_to_itself(
    acme: Fleet, rival: Fleet
) -> None:
    invitation = Invitation(tenant=acme.tenant, email="r@example.org", role=Role.MANAGER)
    invitation.invited_by = inviter()
    token = invitation_issue(invitation=invitation, ts=timezone.now())
    client_of(rival.manager).post(f"/accounts/invitation/{token}/")

    changes = changes_of(invitation)
    membership = Membership.objects.get(tenant=acme.tenant, user=rival.manager)
    (joined,) = changes_of(membership)
    assert [one.change for one in changes] == ["insert", "update"]
    assert joined.who == changes[1].who == "rival-manager"
    assert "accepted by: – → rival-manager" in words(changes[1])
    assert joined.origin is not None
    assert joined.origin["path"] == "/accounts/invitation/…/"
    assert "token_sha256" not in changes[0].data
    assert token not in json.dumps([one.origin for one in (*changes, joined)])


def test_a_newcomer_who_accepts_an_invitation_is_named(acme: Fleet) -> None:
    invitation = Invitation(tenant=acme.tenant, email="n@example.org", role=Role.VIEWER)
    invitation.invited_by = inviter()
    token = invitation_issue(invitation=invitation, ts=timezone.now())
    password = "an otter's umbrella"
    account = {"username": "nadia", "password1": password, "password2": password}
    Client().post(f"/accounts/invitation/{token}/", account)

    (joined,) = changes_of(Membership.objects.get(tenant=acme.tenant, user__username="nadia"))
    assert joined.who == changes_of(invitation)[1].who == "nadia"


def test_only_owners_see_whom_somebody_invited(acme: Fleet) -> None:
    invitation = Invitation(tenant=acme.tenant, email="r@example.org", role=Role.VIEWER)
    invitation_issue(invitation=invitation, ts=timezone.now())
    owner = person("acme-owner", (acme.tenant, Role.OWNER))
    assert b"r@example.org" in client_of(owner).get(CHANGES).content
    shown = client_of(acme.manager).get(CHANGES).content
    assert b"r@example.org" not in shown
    assert b"acme-phone" in shown


def test_an_enrolled_device_comes_from_its_token(acme: Fleet, client: Client) -> None:
    token = EnrolmentToken(
        tenant=acme.tenant, max_uses=1, expires_at=timezone.now() + timedelta(days=1)
    )
    shown = token_issue(token=token)
    body = {"token": shown, "device_id": "new-1"}
    answer = client.post("/api/v1/enrol", body, content_type="application/json")
    assert answer.status_code == 201

    (added,) = changes_of(Device.objects.get(device_id="new-1"))
    assert added.who == f"token rt_{token.prefix}_…"
    assert added.origin is not None and added.origin["path"] == "/api/v1/enrol"
    assert added.origin["request_id"] == answer.headers["X-Request-ID"]
    assert shown not in json.dumps(added.origin)


@pytest.mark.django_db
def test_a_task_of_the_worker_is_named() -> None:
    @shared_task(name="tests.tenant_add")
    def tenant_add() -> None:
        Tenant.objects.create(name="Initech", slug="initech")

    tenant_add.apply()

    (added,) = changes_of(Tenant.objects.get(slug="initech"))
    assert added.who == "task tests.tenant_add"


def test_a_command_is_named(stack: Stack) -> None:
    code = "from devices.models import Tenant; Tenant.objects.create(name='C', slug='by-command')"
    stack.manage("shell", "--command", code)
    rows = query(stack, "SELECT who, origin FROM devices_history WHERE object_name = 'C'")
    assert rows == [("command shell", {"command": "shell"})]


class TestIsolation:
    def test_a_member_sees_the_history_of_their_own_tenants(
        self, acme: Fleet, rival: Fleet
    ) -> None:
        for one in (acme, rival):
            Device.objects.filter(pk=one.device.pk).update(name="renamed")
        with tenant_scope(tenant_ids=[rival.tenant.pk], user_id=rival.manager.pk):
            seen = set(HistoryEntry.objects.values_list("tenant_id", flat=True))
            subjects = set(HistoryEntry.objects.values_list("subject", flat=True))
        assert seen == {rival.tenant.pk}
        assert subjects == {"device", "key", "site", "member", "tenant"}
        with tenant_scope(tenant_ids=[]):
            assert not HistoryEntry.objects.exists()
        with operator_scope(user_id=acme.manager.pk):
            assert HistoryEntry.objects.values("tenant_id").distinct().count() == 2

    def test_nobody_changes_removes_or_forges_history(self, acme: Fleet) -> None:
        statements = (
            "UPDATE devices_deviceevent SET pgh_label = 'delete'",
            "DELETE FROM devices_deviceevent",
            "TRUNCATE devices_deviceevent",
            "INSERT INTO devices_siteevent (pgh_created_at, pgh_label, pgh_obj_id, id, tenant_id, "
            f"name, created_at) VALUES (now(), 'insert', 1, 1, {acme.tenant.pk}, 'forged', now())",
        )
        scopes = [
            partial(tenant_scope, tenant_ids=[acme.tenant.pk]),
            partial(operator_scope, user_id=acme.manager.pk),
        ]
        for scope in scopes:
            for statement in statements:
                refused = pytest.raises(ProgrammingError, match=r"permission denied|row-level")
                with scope(), refused, transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute(statement)

    def test_no_context_is_shared_between_tenants(self, acme: Fleet) -> None:
        edit(client_of(acme.manager), acme, name="Kim")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pghistory_context")
            assert cursor.fetchone() == (0,)
        refused = pytest.raises(ProgrammingError, match="permission denied")
        with tenant_scope(tenant_ids=[acme.tenant.pk]), refused, transaction.atomic():
            connection.cursor().execute("SELECT * FROM pghistory_context")
