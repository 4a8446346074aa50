"""An invitation makes one person a member of one tenant, once, and says so when it does not."""

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core import mail
from django.test import Client
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from devices.models import Invitation, Membership
from devices.people.invitations import (
    REFUSALS,
    AlreadyMember,
    InvitationRefused,
    invitation_accept,
    invitation_find,
    invitation_letter,
    invitations_accept_by_email,
    invitations_open_for,
)
from devices.tenancy.access import Role
from tests.admin import client_of, inviter, page, person
from tests.conftest import Fleet
from tests.devices.people.inviting import ACCOUNT, ADDRESS, NOW, PASSWORD, invited, link, role_in


def test_an_owner_invites_and_the_newcomer_is_let_in_by_the_link_alone(
    acme: Fleet,
    rival: Fleet,
    owner: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    form = {"tenant": acme.tenant.pk, "email": "Nadia@Example.org", "role": "manager"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client_of(owner).post(page("devices_invitation_add"), form)
    notices = [str(one) for one in get_messages(answer.wsgi_request)]
    assert notices == [f"The link was sent to {ADDRESS}."]
    (sent,) = mail.outbox
    assert sent.to == [ADDRESS]
    assert "acme-owner invites you to Acme" in str(sent.body)
    found = re.search(r"http://testserver(\S+)", str(sent.body))
    assert found
    newcomer = Client()
    assert b"Join Acme" in newcomer.get(found[1]).content

    answer = newcomer.post(found[1], ACCOUNT)

    assert answer.status_code == 302
    user = User.objects.get(username="nadia")
    assert (user.email, user.is_staff, user.is_superuser) == (ADDRESS, True, False)
    assert user.check_password(PASSWORD)
    assert EmailAddress.objects.get(user=user, verified=True, primary=True).email == ADDRESS
    assert (role_in(acme, user), role_in(rival, user)) == ("manager", None)
    assert newcomer.get(page("devices_device_changelist")).status_code == 200
    invitation = Invitation.objects.get()
    assert (invitation.accepted_by, invitation.invited_by) == (user, owner)


def test_the_token_is_not_kept(acme: Fleet) -> None:
    _, token = invited(acme)

    kept = repr(list(Invitation.objects.values()))

    assert token not in kept
    assert re.search(token, kept, re.IGNORECASE) is None


def test_an_invitation_is_void_once_its_sender_could_not_send_it(acme: Fleet, owner: User) -> None:
    pk, token = invited(acme, by=owner)
    other = person("other-owner", (acme.tenant, Role.OWNER))
    own = Membership.objects.filter(tenant=acme.tenant, user=owner)
    assert Client().get(link(token)).status_code == 200

    def assert_void() -> None:
        for answer in (Client().get(link(token)), Client().post(link(token), ACCOUNT)):
            assert answer.status_code == 410
            assert REFUSALS["void"] in answer.content.decode()
        assert not invitations_open_for(ADDRESS, ts=NOW)
        listed = client_of(other).get(page("devices_invitation_changelist"))
        assert ">void<" in listed.content.decode()

    own.update(role=Role.MANAGER)
    assert_void()
    own.update(role=Role.OWNER)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert_void()
    own.delete()
    assert_void()

    client_of(other).post(page("devices_invitation_send_again", pk))
    assert invitations_open_for(ADDRESS, ts=NOW)


def test_an_invitation_is_accepted_once(acme: Fleet, rival: Fleet, owner: User) -> None:
    _, token = invited(acme)
    invitation_accept(token=token, user=rival.manager, ts=NOW)

    with pytest.raises(InvitationRefused):
        invitation_accept(token=token, user=person("second"), ts=NOW)
    assert Membership.objects.filter(tenant=acme.tenant).count() == 3


def test_an_invitation_raises_nobodys_role(acme: Fleet) -> None:
    _, token = invited(acme, role=Role.OWNER)

    with pytest.raises(AlreadyMember):
        invitation_accept(token=token, user=acme.manager, ts=NOW)

    assert role_in(acme, acme.manager) == "manager"
    assert invitation_find(token=token, ts=NOW).accepted_at is None


def test_what_is_sent_again_needs_no_scope_and_is_the_word_of_who_sends_it(
    acme: Fleet,
    owner: User,
    django_assert_num_queries: DjangoAssertNumQueries,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """The tenant's name cannot be read after the request's scope has ended."""
    pk, _ = invited(acme)
    Invitation.objects.update(expires_at=NOW - timedelta(days=1))
    with django_capture_on_commit_callbacks() as on_commit:
        client_of(owner).post(page("devices_invitation_send_again", pk))

    with django_assert_num_queries(0):
        for send in on_commit:
            send()

    (sent,) = mail.outbox
    assert "acme-owner invites you to Acme" in str(sent.body)
    expires_at = Invitation.objects.get().expires_at
    assert f"until {expires_at:%Y-%m-%d %H:%M} UTC" in str(sent.body)


def test_the_letter_and_the_page_name_a_member_and_no_operator(acme: Fleet, owner: User) -> None:
    for by, words in ((owner, "acme-owner invite"), (inviter(), "An operator invite")):
        Invitation.objects.all().delete()
        pk, token = invited(acme, by=by)

        letter = invitation_letter(invitation=Invitation.objects.get(pk=pk), url=link(token))

        assert words in str(letter.body)
        assert words in Client().get(link(token)).content.decode()


def test_a_verified_address_finds_its_open_invitations_in_all_tenants(
    acme: Fleet, rival: Fleet
) -> None:
    invited(acme, role=Role.VIEWER)
    invited(rival, role=Role.OWNER)
    invited(rival, email="other@example.org")
    user = person("nadia")
    later = NOW + timedelta(days=8)
    assert invitations_open_for(ADDRESS, ts=later) == []

    assert invitations_accept_by_email(email="NADIA@example.org", user=user, ts=NOW) == 2

    assert (role_in(acme, user), role_in(rival, user)) == ("viewer", "owner")
    assert invitations_open_for(ADDRESS, ts=NOW) == []
