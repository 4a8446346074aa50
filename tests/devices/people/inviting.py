"""Invitations, and people who accept them."""

from django.contrib.auth.models import User
from django.utils import timezone

from devices.models import Invitation, Membership
from devices.people.invitations import (
    invitation_issue,
)
from devices.tenancy.access import Role
from tests.admin import inviter
from tests.conftest import Fleet

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
