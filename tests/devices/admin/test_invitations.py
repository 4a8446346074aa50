"""Invitations in the admin, where owners send them."""

import re
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core import mail
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from devices.models import Invitation
from devices.people.invitations import (
    InvitationRefused,
    invitation_renew,
    invitations_revoke,
)
from devices.tenancy.access import Role
from tests.admin import client_of, confirmed, page, person
from tests.conftest import Fleet
from tests.devices.people.inviting import ADDRESS, NOW, invited, link


def test_sending_again_voids_the_first_link(
    acme: Fleet,
    owner: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    pk, first = invited(acme)
    Invitation.objects.update(expires_at=NOW - timedelta(days=1))
    with django_capture_on_commit_callbacks(execute=True):
        client_of(owner).post(page("devices_invitation_send_again", pk))

    found = re.search(r"/accounts/invitation/\w+/", str(mail.outbox[0].body))
    assert found
    assert found[0] != link(first)
    assert Client().get(found[0]).status_code == 200
    assert Client().get(link(first)).status_code == 410


def test_what_ended_is_not_sent_again(acme: Fleet, owner: User) -> None:
    pk, _ = invited(acme)
    assert invitations_revoke(ids=[pk], ts=NOW) == 1
    assert invitations_revoke(ids=[pk], ts=NOW) == 0

    with pytest.raises(InvitationRefused):
        invitation_renew(invitation=Invitation.objects.get(pk=pk), by_id=owner.pk, ts=NOW)


def test_an_address_is_invited_once_at_a_time_and_no_member_is(acme: Fleet, owner: User) -> None:
    pk, _ = invited(acme)
    User.objects.filter(pk=acme.manager.pk).update(email="here@example.org")
    client, url = client_of(owner), page("devices_invitation_add")
    form = {"tenant": acme.tenant.pk, "role": "viewer"}

    again = client.post(url, {**form, "email": ADDRESS.upper()})
    member = client.post(url, {**form, "email": "here@example.org"})

    assert b"already invited" in again.content
    assert b"already a member" in member.content
    assert Invitation.objects.count() == 1
    invitations_revoke(ids=[pk], ts=NOW)
    assert client.post(url, {**form, "email": ADDRESS}).status_code == 302


def test_when_no_mail_can_be_sent_the_page_says_so_and_the_invitation_is_kept(
    acme: Fleet,
    owner: User,
    settings: LazySettings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    client = client_of(owner)
    form = {"tenant": acme.tenant.pk, "email": ADDRESS, "role": "viewer"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(page("devices_invitation_add"), form)

    (notice,) = get_messages(answer.wsgi_request)
    assert f"the e-mail to {ADDRESS} could not be sent" in str(notice)
    assert Invitation.objects.filter(email=ADDRESS, revoked_at=None).exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MANAGER])
def test_invitations_are_the_owners_alone(acme: Fleet, rival: Fleet, role: Role) -> None:
    pk, _ = invited(acme)
    member = person("member", (acme.tenant, role), (rival.tenant, Role.OWNER))
    client = client_of(member)

    listed = client.get(page("devices_invitation_changelist"))
    assert ADDRESS not in listed.content.decode()
    form = {"tenant": acme.tenant.pk, "email": "friend@example.org", "role": "owner"}
    client.post(page("devices_invitation_add"), form)
    for name in ("change", "send_again", "revoke"):
        answer = client.post(page(f"devices_invitation_{name}", pk))
        assert answer.status_code in (302, 403)
    chosen = {"action": "revoke_selected", "_selected_action": [pk]}
    confirmed(client, page("devices_invitation_changelist"), chosen)

    assert list(Invitation.objects.values_list("email", "revoked_at")) == [(ADDRESS, None)]


def test_a_member_of_one_tenant_alone_has_no_page_of_invitations(acme: Fleet) -> None:
    answer = client_of(acme.manager).get(page("devices_invitation_changelist"))

    assert answer.status_code == 403
    assert b"Invitations" not in client_of(acme.manager).get(page("index")).content
