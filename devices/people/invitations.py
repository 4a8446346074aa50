"""Invitations: a link, sent by e-mail, by which somebody becomes a member of a tenant.

The token in the link has as much entropy as a device's key and is kept as a hash, like one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from allauth.account.internal.userkit import filter_users_by_email
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import IntegrityError, connection, transaction
from django.db.models import BooleanField, F, Func, QuerySet
from django.template.loader import render_to_string

from devices.fleet.keys import SECRET_LENGTH, random_text, secret_hash
from devices.http.origin import origin_note
from devices.models import Invitation, Membership
from devices.tenancy.scope import tenant_scope

LIFE = timedelta(days=7)


class InvitationRefused(ValueError):
    """The invitation opens nothing; the text says why."""


class AlreadyMember(InvitationRefused):
    """The person is a member of the tenant, with a role that an invitation does not change."""


class AccountExists(ValueError):
    """Somebody has an account with the invited address: they sign in and accept."""


class UsernameTaken(ValueError):
    """Somebody took the user name at the same moment."""


class OpenInvitation(NamedTuple):
    id: int
    tenant_id: int


def invitation_issue(*, invitation: Invitation, ts: datetime) -> str:
    """Saves a new invitation; returns its token in the clear, for the one time."""
    token = random_text(SECRET_LENGTH)
    invitation.email = invitation.email.lower()
    invitation.token_sha256 = secret_hash(token)
    invitation.expires_at = ts + LIFE
    invitation.save(force_insert=True)
    return token


def invitation_renew(*, invitation: Invitation, by_id: int | None, ts: datetime) -> str:
    """Gives the invitation a new token and a new week; the link that was sent is void. From now on
    it is the word of the person who renews it.

    Returns the token in the clear; the invitation is as it is kept then. Raises InvitationRefused
    if it was accepted or revoked.
    """
    token = random_text(SECRET_LENGTH)
    waiting = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    fresh = {"token_sha256": secret_hash(token), "expires_at": ts + LIFE, "invited_by": by_id}
    if not waiting.update(**fresh):
        raise InvitationRefused("This invitation was accepted or revoked; invite anew.")
    invitation.refresh_from_db()
    return token


def invitations_revoke(*, ids: Sequence[int], ts: datetime) -> int:
    """Revokes those that still wait for an answer; returns how many they were."""
    waiting = Invitation.objects.filter(id__in=ids, accepted_at=None, revoked_at=None)
    return waiting.update(revoked_at=ts)


def invitation_letter(*, invitation: Invitation, url: str) -> EmailMessage:
    """The e-mail with the link, to the invited address; asks nothing of the database any more, so
    that it may be sent when the scope in which it was written has ended.

    Of who invited it tells the name if it is a member's, as the page behind the link does.
    """
    by, members = invitation.invited_by, invitation.tenant.memberships
    by_member = by is not None and members.filter(user=by).exists()
    context = {"invitation": invitation, "url": url, "by_member": by_member}
    return EmailMessage(
        subject=f"Rollcall: you are invited to {' '.join(invitation.tenant.name.split())}",
        body=render_to_string("account/email/invitation_message.txt", context),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[invitation.email],
    )


def invitation_find(*, token: str, ts: datetime) -> Invitation:
    """The invitation with its tenant and who invited. Raises InvitationRefused."""
    with tenant_scope(tenant_ids=_tenants_of(token)):
        return _open(token, ts)


def invitation_accept(*, token: str, user: User, ts: datetime) -> Membership:
    """Makes the person a member as the invitation says, once.

    Raises InvitationRefused, AlreadyMember too; then nothing changed.
    """
    with transaction.atomic():
        _let_in(user)
        with tenant_scope(tenant_ids=_tenants_of(token), user_id=user.pk):
            return _accept(_open(token, ts), user, ts)


@transaction.atomic
def invited_account_create(*, token: str, user: User, ts: datetime) -> User:
    """Saves the new person, whose address is verified by the link, as a member of the tenant.

    `user` has its user name and password. Raises InvitationRefused, AccountExists and
    UsernameTaken; then nothing changed.
    """
    with tenant_scope(tenant_ids=_tenants_of(token)):
        # Of two who come at once, the other waits here, and finds that it was accepted.
        invitation = _open(token, ts, is_held=True)
    if account_exists(email=invitation.email):
        raise AccountExists
    user.email = invitation.email
    user.is_staff = True
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise UsernameTaken("A user with that username already exists.") from None
    origin_note(username=user.get_username())  # who asks is nobody yet
    try:
        with transaction.atomic():
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    except IntegrityError:  # by another tenant's invitation, at the same moment
        raise AccountExists from None
    invitation_accept(token=token, user=user, ts=ts)
    return user


def account_exists(*, email: str) -> bool:
    """True if somebody has an account with this address."""
    return bool(filter_users_by_email(email))


def invitations_open_for(email: str, *, ts: datetime) -> list[OpenInvitation]:
    """Of all tenants the open invitations of this address, which the asker has to have verified."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM devices_invitations_for(%s, %s)", [email, ts])
        return [OpenInvitation(*row) for row in cursor.fetchall()]


@transaction.atomic
def invitations_accept_by_email(*, email: str, user: User, ts: datetime) -> int:
    """Accepts all open invitations of a verified address; returns how many they were."""
    _let_in(user)
    found = invitations_open_for(email, ts=ts)
    for one in found:
        with tenant_scope(tenant_ids=[one.tenant_id], user_id=user.pk):
            _accept(Invitation.objects.get(pk=one.id), user, ts)
    return len(found)


def with_stands(invitations: QuerySet[Invitation]) -> QuerySet[Invitation]:
    """With `stands`: whether whoever invited could do so still, as an owner or an operator."""
    function = Func(F("pk"), function="devices_invitation_stands", output_field=BooleanField())
    return invitations.annotate(stands=function)


def invitation_state(invitation: Invitation, *, ts: datetime) -> str:
    """Why it opens nothing any more, in words; "" while it does. Of an invitation with `stands`."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.revoked_at is not None:
        return "revoked"
    if invitation.expires_at <= ts:
        return "expired"
    return "" if invitation.stands else "void"  # type: ignore[attr-defined]


REFUSALS = {
    "accepted": "This invitation was accepted before. Sign in with your account.",
    "revoked": "This invitation was revoked. Ask who invited you for a new one.",
    "expired": "This invitation has expired. Ask who invited you to send it again.",
    "void": "Whoever invited you may not do so any more. Ask an owner of the tenant to invite you.",
}
UNKNOWN = "There is no such invitation. Perhaps it was sent again: use the latest link."


def _open(token: str, ts: datetime, *, is_held: bool = False) -> Invitation:
    """Raises InvitationRefused. One that is held is nobody else's until the transaction ends."""
    kept = with_stands(Invitation.objects.select_related("tenant", "invited_by"))
    if is_held:
        kept = kept.select_for_update(of=("self",), no_key=True)
    found = kept.filter(token_sha256=secret_hash(token)).first()
    if found is None:
        raise InvitationRefused(UNKNOWN)
    if state := invitation_state(found, ts=ts):
        raise InvitationRefused(REFUSALS[state])
    return found


def _accept(invitation: Invitation, user: User, ts: datetime) -> Membership:
    """In the scope of the tenant. Of two who accept at once, one does."""
    waiting = Invitation.objects.filter(
        pk=invitation.pk, accepted_at=None, revoked_at=None, expires_at__gt=ts
    )
    if not waiting.update(accepted_at=ts, accepted_by=user):
        raise InvitationRefused(REFUSALS["accepted"])
    membership, is_new = Membership.objects.get_or_create(
        tenant_id=invitation.tenant_id, user=user, defaults={"role": invitation.role}
    )
    if not is_new:
        raise AlreadyMember(
            f"You are a member already, as {membership.role}. An owner can change your role."
        )
    return membership


def _let_in(user: User) -> None:
    """Outside of scopes, in which nobody changes people."""
    if not user.is_staff:
        User.objects.filter(pk=user.pk).update(is_staff=True)


def _tenants_of(token: str) -> list[int]:
    """The tenant whose invitation this is, which has to be known before there is a scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT devices_invitation_tenant(%s)", [secret_hash(token)])
        (tenant_id,) = cursor.fetchone()
    return [] if tenant_id is None else [tenant_id]
