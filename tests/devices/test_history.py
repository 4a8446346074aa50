"""Every change of a tenant's things is kept, with who made it and from where, for that tenant."""

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from celery import shared_task
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db import ProgrammingError, connection, transaction
from django.test import Client
from django.utils import timezone

from devices.audit.history import SUBJECTS, lines_of
from devices.audit.operator_access import operator_access_prune
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
    OperatorAccess,
    Tenant,
)
from devices.people.invitations import invitation_issue
from devices.pruning import STEP
from devices.tenancy.access import Role
from devices.tenancy.scope import operator_scope, tenant_scope
from scripts.stack import Stack
from tests.admin import client_of, inviter, page, person, told_by
from tests.conftest import Fleet
from tests.devices.api_callers import caller
from tests.stack_data import query

CHANGES = page("devices_historyentry_changelist")
ACCESSES = page("devices_operatoraccess_changelist")


def changes_of(row: Any) -> list[HistoryEntry]:
    """The row's changes, oldest first."""
    subject = SUBJECTS[type(row)]
    return list(HistoryEntry.objects.filter(subject=subject, object_id=row.pk).order_by("number"))


def words(entry: HistoryEntry) -> str:
    (line,) = lines_of([entry])
    parts = (
        f"{one.field}: {one.after}"
        if one.before is None
        else f"{one.field}: {one.before} → {one.after}"
        for one in line.differences
    )
    return f"{line.what}; {', '.join(parts)}"


def edit(client: Client, fleet: Fleet, **fields: Any) -> Any:
    values = {
        "device_id": fleet.device.device_id,
        "name": "",
        "kind": "phone",
        "site": "",
        "credentials-TOTAL_FORMS": 0,
        "credentials-INITIAL_FORMS": 0,
    }
    url = page("devices_device_change", fleet.device.pk)
    return client.post(url, values | fields, REMOTE_ADDR="10.0.0.7")


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


def test_a_request_keeps_the_id_that_a_proxy_gave_it_if_it_is_one(acme: Fleet) -> None:
    client = client_of(acme.manager)
    given = client.get("/health", headers={"X-Request-ID": "5f0c7c7a-proxy"})
    assert given.headers["X-Request-ID"] == "5f0c7c7a-proxy"
    odd = client.get("/health", headers={"X-Request-ID": "<script>alert(1)</script>"})
    assert odd.headers["X-Request-ID"].isalnum()


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


class TestPages:
    def test_the_page_of_a_device_says_who_changed_what(self, acme: Fleet) -> None:
        client = client_of(acme.manager)
        edit(client, acme, name="Kim's phone")
        shown = client.get(page("devices_device_history", acme.device.pk)).content.decode()
        assert "acme-manager" in shown
        assert "– → Kim&#x27;s phone" in shown
        assert "from 127.0.0.1" not in shown and "from 10.0.0.7" in shown
        assert f"key rc_{acme.key.split('_')[1]}_… added" in shown
        assert acme.key not in shown

    def test_the_list_is_filtered_by_who_what_and_when(self, acme: Fleet, rival: Fleet) -> None:
        client = client_of(acme.manager)
        edit(client, acme, name="Kim's phone")

        def shown(**filters: Any) -> list[str]:
            answer = client.get(CHANGES, filters)
            assert answer.status_code == 200
            return [one.line.what for one in answer.context["cl"].result_list]

        assert shown(who__icontains="acme-man") == ["device acme-phone changed"]
        assert shown(subject__exact="site") == ["site acme site added"]
        assert shown(change__exact="update") == ["device acme-phone changed"]
        assert shown(q="kim") == []
        assert len(shown()) == 6
        assert shown(at_from_0="2200-01-01", at_from_1="00:00") == []
        assert len(shown(at_to_0="2200-01-01", at_to_1="00:00")) == 6
        assert shown(at_to_0="2020-01-01", at_to_1="00:00") == []

    def test_what_is_no_moment_is_said_beside_the_filter(self, acme: Fleet) -> None:
        answer = client_of(acme.manager).get(CHANGES, {"at_from_0": "soon", "at_from_1": "00:00"})
        assert "Enter a valid date." in answer.content.decode()

    def test_an_outsider_is_shown_nothing(self, acme: Fleet, rival: Fleet) -> None:
        edit(client_of(acme.manager), acme, name="Kim's phone")
        shown = told_by(client_of(rival.manager).get(CHANGES))
        assert b"rival-phone" in shown
        assert b"acme" not in shown

    def test_entries_are_not_changed_in_the_admin(self, acme: Fleet, operator: User) -> None:
        (added,) = changes_of(acme.device)
        for user in (acme.manager, operator):
            client = client_of(user)
            assert client.get(page("devices_historyentry_add")).status_code == 403
            url = page("devices_historyentry_change", added.pk)
            assert client.get(url).status_code == 200
            assert client.post(url, {}).status_code == 403
            assert client.post(page("devices_historyentry_delete", added.pk)).status_code == 403

    def test_the_list_asks_the_database_equally_often_however_long_it_is(
        self, acme: Fleet, django_assert_max_num_queries: Any
    ) -> None:
        for name in ("one", "two", "three", "four"):
            Device.objects.filter(pk=acme.device.pk).update(name=name)
        client = client_of(acme.manager)
        client.get(CHANGES)
        with django_assert_max_num_queries(16):
            client.get(CHANGES)


class TestOperatorAccess:
    def test_operators_see_who_looked_at_what(self, acme: Fleet, operator: User) -> None:
        client = client_of(operator)
        client.get(page("devices_device_change", acme.device.pk))
        shown = client.get(ACCESSES, {"username__icontains": "oper"}).content.decode()
        assert page("devices_device_change", acme.device.pk) in shown
        assert (
            client.get(ACCESSES, {"username__icontains": "nobody"})
            .context["cl"]
            .result_list.count()
            == 0
        )
        assert client.get(page("devices_operatoraccess_add")).status_code == 403

    def test_what_is_the_same_for_everybody_is_not_recorded(self, operator: User) -> None:
        client_of(operator).get(page("jsi18n"))
        assert not OperatorAccess.objects.exists()

    def test_a_method_of_any_length_is_recorded(self, operator: User) -> None:
        client = caller(operator)
        assert client.generic("MKCALENDAR", "/api/v1/devices").status_code == 405
        assert OperatorAccess.objects.get().method == "MKCALEND"

    def test_members_see_none_of_it(self, acme: Fleet) -> None:
        assert client_of(acme.manager).get(ACCESSES).status_code == 403

    def test_a_part_of_a_page_is_recorded_once_an_hour(self, acme: Fleet, operator: User) -> None:
        client = client_of(operator)
        url = page("devices_device_presence", acme.device.pk)
        records = OperatorAccess.objects.filter(path=url)
        for _ in range(3):
            assert client.get(url).status_code == 200
        assert records.count() == 1
        records.update(at=timezone.now() - timedelta(minutes=61))
        client.get(url)
        assert records.count() == 2

    def test_a_page_is_recorded_each_time(self, acme: Fleet, operator: User) -> None:
        client = client_of(operator)
        url = page("devices_device_change", acme.device.pk)
        for _ in range(2):
            client.get(url)
        assert OperatorAccess.objects.filter(path=url).count() == 2

    @pytest.mark.django_db
    def test_old_records_are_forgotten_and_younger_ones_kept(self, settings: Any) -> None:
        settings.OPERATOR_ACCESS_DAYS = 30
        ts = timezone.now()
        records = [OperatorAccess(username="old", method="GET", path="/") for _ in range(STEP + 1)]
        OperatorAccess.objects.bulk_create(records)
        OperatorAccess.objects.update(at=ts - timedelta(days=31))
        young = OperatorAccess.objects.create(username="young", method="GET", path="/")

        assert operator_access_prune(ts=ts) == STEP + 1
        assert list(OperatorAccess.objects.all()) == [young]
