"""Invitations: e-mailed links that make somebody a member of a tenant.

The token in the link has as much entropy as a device's key and is likewise stored as a hash.
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
    """The invitation does not work; the text says why."""


class AlreadyMember(InvitationRefused):
    """The person is already a member of the tenant; an invitation does not change a member's
    role."""


class AccountExists(ValueError):
    """There is already an account with the invited address; its owner must sign in to accept."""


class UsernameTaken(ValueError):
    """Somebody else took the user name in the meantime."""


class OpenInvitation(NamedTuple):
    id: int
    tenant_id: int


def invitation_issue(*, invitation: Invitation, ts: datetime) -> str:
    """Saves a new invitation; returns its token in clear text, which is not stored."""
    token = random_text(SECRET_LENGTH)
    invitation.email = invitation.email.lower()
    invitation.token_sha256 = secret_hash(token)
    invitation.expires_at = ts + LIFE
    invitation.save(force_insert=True)
    return token


def invitation_renew(*, invitation: Invitation, by_id: int | None, ts: datetime) -> str:
    """Gives the invitation a new token that is valid for another week; the previous link stops
    working. The person who renews it becomes the inviter.

    Returns the token in clear text and refreshes `invitation`. Raises InvitationRefused if the
    invitation was accepted or revoked.
    """
    token = random_text(SECRET_LENGTH)
    waiting = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    fresh = {"token_sha256": secret_hash(token), "expires_at": ts + LIFE, "invited_by": by_id}
    if not waiting.update(**fresh):
        raise InvitationRefused("This invitation was accepted or revoked; add a new one.")
    invitation.refresh_from_db()
    return token


def invitations_revoke(*, ids: Sequence[int], ts: datetime) -> int:
    """Revokes the invitations that are neither accepted nor revoked yet; returns how many."""
    waiting = Invitation.objects.filter(id__in=ids, accepted_at=None, revoked_at=None)
    return waiting.update(revoked_at=ts)


def invitation_letter(*, invitation: Invitation, url: str) -> EmailMessage:
    """The e-mail to the invited address, with the link. Sending it needs no query, so it can be
    sent after the scope in which it was written has ended.

    Names the inviter if they are a member of the tenant, as the linked page does.
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
    """The invitation with its tenant and inviter. Raises InvitationRefused."""
    with tenant_scope(tenant_ids=_tenants_of(token)):
        return _open(token, ts)


def invitation_accept(*, token: str, user: User, ts: datetime) -> Membership:
    """Makes the person a member with the role given in the invitation, which works only once.

    Raises InvitationRefused or AlreadyMember; in that case nothing has changed.
    """
    with transaction.atomic():
        _let_in(user)
        with tenant_scope(tenant_ids=_tenants_of(token), user_id=user.pk):
            return _accept(_open(token, ts), user, ts)


@transaction.atomic
def invited_account_create(*, token: str, user: User, ts: datetime) -> User:
    """Saves the new person as a member of the tenant; the link has verified their address.

    `user` has a user name and a password. Raises InvitationRefused, AccountExists or
    UsernameTaken; in that case nothing has changed.
    """
    with tenant_scope(tenant_ids=_tenants_of(token)):
        # A second, simultaneous request waits here and then finds that the invitation is accepted.
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
    origin_note(username=user.get_username())  # because the request has no user yet
    try:
        with transaction.atomic():
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    except IntegrityError:  # through another tenant's invitation, in the meantime
        raise AccountExists from None
    invitation_accept(token=token, user=user, ts=ts)
    return user


def account_exists(*, email: str) -> bool:
    """True if somebody has an account with this address."""
    return bool(filter_users_by_email(email))


def invitations_open_for(email: str, *, ts: datetime) -> list[OpenInvitation]:
    """The open invitations to this address, from all tenants. The caller must have verified the
    address."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM devices_invitations_for(%s, %s)", [email, ts])
        return [OpenInvitation(*row) for row in cursor.fetchall()]


@transaction.atomic
def invitations_accept_by_email(*, email: str, user: User, ts: datetime) -> int:
    """Accepts all open invitations to an address that the caller has verified; returns how many."""
    _let_in(user)
    found = invitations_open_for(email, ts=ts)
    for one in found:
        with tenant_scope(tenant_ids=[one.tenant_id], user_id=user.pk):
            _accept(Invitation.objects.get(pk=one.id), user, ts)
    return len(found)


def with_stands(invitations: QuerySet[Invitation]) -> QuerySet[Invitation]:
    """Adds `stands`: True as long as the inviter may still invite people, as an owner or an
    operator."""
    function = Func(F("pk"), function="devices_invitation_stands", output_field=BooleanField())
    return invitations.annotate(stands=function)


def invitation_state(invitation: Invitation, *, ts: datetime) -> str:
    """Why the invitation no longer works, such as `expired`; "" while it works. Needs `stands`."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.revoked_at is not None:
        return "revoked"
    if invitation.expires_at <= ts:
        return "expired"
    return "" if invitation.stands else "void"  # type: ignore[attr-defined]


REFUSALS = {
    "accepted": "This invitation has already been accepted. Sign in with your account.",
    "revoked": "This invitation was revoked. Ask the person who invited you for a new one.",
    "expired": "This invitation has expired. Ask the person who invited you to send it again.",
    "void": "The person who invited you can no longer invite people. Ask an owner of the tenant to "
    "invite you.",
}
UNKNOWN = "This invitation does not exist. If it was sent again, use the latest link."


def _open(token: str, ts: datetime, *, is_held: bool = False) -> Invitation:
    """Finds the invitation; raises InvitationRefused if it does not work. With `is_held`, the
    invitation is locked until the transaction ends."""
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
    """Runs in the tenant's scope. If two people accept at the same time, only one succeeds."""
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
            f"You are already a member, as {membership.role}. An owner can change your role."
        )
    return membership


def _let_in(user: User) -> None:
    """Lets the person open the portal. Runs outside a scope, because accounts cannot be changed
    inside one."""
    if not user.is_staff:
        User.objects.filter(pk=user.pk).update(is_staff=True)


def _tenants_of(token: str) -> list[int]:
    """The invitation's tenant, which is needed before a scope is open; empty if unknown."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT devices_invitation_tenant(%s)", [secret_hash(token)])
        (tenant_id,) = cursor.fetchone()
    return [] if tenant_id is None else [tenant_id]
