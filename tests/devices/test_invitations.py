"""An invitation makes one person a member of one tenant, once, and says so when it does not."""

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from devices.models import Invitation, Membership
from devices.people.invitations import (
    REFUSALS,
    AlreadyMember,
    InvitationRefused,
    invitation_accept,
    invitation_find,
    invitation_issue,
    invitation_letter,
    invitation_renew,
    invitations_accept_by_email,
    invitations_open_for,
    invitations_revoke,
    invited_account_create,
)
from devices.tenancy.access import Role
from tests.admin import client_of, confirmed, inviter, page, person
from tests.conftest import Fleet
from tests.two_at_once import after_waiting_for

ADDRESS = "nadia@example.org"
PASSWORD = "an otter's umbrella"
ACCOUNT = {"username": "nadia", "password1": PASSWORD, "password2": PASSWORD}
NOW = timezone.now()


def invited(
    fleet: Fleet, *, role: Role = Role.MANAGER, email: str = ADDRESS, by: User | None = None
) -> tuple[int, str]:
    """The id of an invitation, and its token."""
    invitation = Invitation(tenant=fleet.tenant, email=email, role=role)
    invitation.invited_by = by or inviter()
    token = invitation_issue(invitation=invitation, ts=timezone.now())
    return invitation.pk, token


def link(token: str) -> str:
    return f"/accounts/invitation/{token}/"


def role_in(fleet: Fleet, user: User) -> str | None:
    return (
        Membership.objects.filter(tenant=fleet.tenant, user=user)
        .values_list("role", flat=True)
        .first()
    )


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


def test_an_existing_person_accepts_by_a_button(acme: Fleet, rival: Fleet) -> None:
    _, token = invited(acme, role=Role.VIEWER)
    client = client_of(rival.manager)
    assert role_in(acme, rival.manager) is None
    assert b"You are signed in as rival-manager" in client.get(link(token)).content
    assert role_in(acme, rival.manager) is None

    assert client.post(link(token)).status_code == 302

    assert role_in(acme, rival.manager) == "viewer"
    assert role_in(rival, rival.manager) == "manager"


def test_somebody_who_has_an_account_is_led_to_sign_in(acme: Fleet, rival: Fleet) -> None:
    User.objects.filter(pk=rival.manager.pk).update(email=ADDRESS)
    _, token = invited(acme)

    answer = Client().post(link(token), ACCOUNT)

    assert answer["Location"] == f"/accounts/login/?next={link(token)}"
    assert not User.objects.filter(username="nadia").exists()


@pytest.mark.parametrize("state", ["accepted", "revoked", "expired"])
def test_an_invitation_that_ended_says_so_and_changes_nothing(
    acme: Fleet, rival: Fleet, state: str
) -> None:
    pk, token = invited(acme)
    ended = {
        "accepted": {"accepted_at": NOW},
        "revoked": {"revoked_at": NOW},
        "expired": {"expires_at": NOW - timedelta(seconds=1)},
    }[state]
    Invitation.objects.filter(pk=pk).update(**ended)

    for client in (Client(), client_of(rival.manager)):
        for answer in (client.get(link(token)), client.post(link(token), ACCOUNT)):
            assert answer.status_code == 410
            assert REFUSALS[state] in answer.content.decode()
    assert not User.objects.filter(username="nadia").exists()
    assert role_in(acme, rival.manager) is None


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


@pytest.mark.parametrize("token", ["x", "A" * 32, "' OR 1=1 --", "%00", "ü" * 40])
def test_a_token_that_nobody_made_opens_nothing(acme: Fleet, token: str) -> None:
    invited(acme)

    answer = Client().get(link(token))

    assert answer.status_code in (400, 404, 410)
    assert b"Acme" not in answer.content


def test_an_invitation_is_accepted_once(acme: Fleet, rival: Fleet, owner: User) -> None:
    _, token = invited(acme)
    invitation_accept(token=token, user=rival.manager, ts=NOW)

    with pytest.raises(InvitationRefused):
        invitation_accept(token=token, user=person("second"), ts=NOW)
    assert Membership.objects.filter(tenant=acme.tenant).count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_newcomers_with_one_link_the_second_is_told_so(acme: Fleet) -> None:
    _, token = invited(acme)

    def join(name: str) -> User:
        return invited_account_create(token=token, user=User(username=name), ts=timezone.now())

    with pytest.raises(InvitationRefused, match="accepted before"):
        after_waiting_for(lambda: join("nadia"), lambda: join("impostor"))

    assert not User.objects.filter(username="impostor").exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_links_of_one_address_the_second_leads_to_the_account_of_the_first(
    acme: Fleet, rival: Fleet
) -> None:
    (_, first), (_, second) = invited(acme), invited(rival)

    def join() -> Any:
        return Client().post(link(second), ACCOUNT | {"username": "nadia2"})

    answer = after_waiting_for(
        lambda: invited_account_create(token=first, user=User(username="nadia"), ts=NOW), join
    )

    assert answer["Location"].startswith("/accounts/login/")
    assert not User.objects.filter(username="nadia2").exists()
    assert invitation_find(token=second, ts=NOW).accepted_at is None


def test_an_invitation_raises_nobodys_role(acme: Fleet) -> None:
    _, token = invited(acme, role=Role.OWNER)

    with pytest.raises(AlreadyMember):
        invitation_accept(token=token, user=acme.manager, ts=NOW)

    assert role_in(acme, acme.manager) == "manager"
    assert invitation_find(token=token, ts=NOW).accepted_at is None


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


def test_what_is_sent_again_needs_no_scope_and_is_the_word_of_who_sends_it(
    acme: Fleet,
    owner: User,
    django_assert_num_queries: DjangoAssertNumQueries,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """As the tenant's name cannot be read once the scope of the request has ended."""
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

    assert b"invited already" in again.content
    assert b"a member already" in member.content
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
    assert f"no e-mail could be sent to {ADDRESS}" in str(notice)
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


def test_a_password_like_the_address_is_refused(acme: Fleet) -> None:
    _, token = invited(acme)
    weak = {"password1": ADDRESS, "password2": ADDRESS}

    answer = Client().post(link(token), {**ACCOUNT, **weak})

    assert [*answer.context["form"].errors] == ["password1"]
    assert b"too similar" in answer.content
    assert not User.objects.filter(username="nadia").exists()
