"""Which tenants a person may see."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet

from devices.models import Tenant


def is_operator(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Operators run the installation and see every tenant."""
    return bool(user.is_active and getattr(user, "is_superuser", False))


def tenants_visible_to(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Tenant]:
    """The tenants that the person is a member of; all of them for an operator; else none."""
    if not user.is_active or user.pk is None:
        return Tenant.objects.none()
    if is_operator(user):
        return Tenant.objects.all()
    return Tenant.objects.filter(memberships__user_id=user.pk)
