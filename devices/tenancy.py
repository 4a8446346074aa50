"""Which tenants a person may see, and what the person may do there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import connection
from django.db.models import Model, QuerySet

from devices.models import Membership, Tenant

Row = TypeVar("Row", bound=Model)
Role = Membership.Role

RANKS = (Role.VIEWER, Role.MANAGER, Role.OWNER)

# A function of the database's, for this has to be known before there is a scope to read it in.
ROLES_OF = "SELECT tenant_id, role FROM devices_roles_of(%s)"


@dataclass(frozen=True, slots=True)
class Access:
    """What a person may do: the role in each tenant by its id; an operator may do everything.

    `user_id` is the person's; None if nobody is signed in.
    """

    is_operator: bool
    roles: Mapping[int, Role]
    user_id: int | None = None

    def allows(self, role: Role, tenant_id: int | None = None) -> bool:
        """True if the person has this role or a higher one there; without a tenant: anywhere."""
        if self.is_operator:
            return True
        tenant_ids = self._tenant_ids(role)
        return bool(tenant_ids) if tenant_id is None else tenant_id in tenant_ids

    def narrow(self, queryset: QuerySet[Row], role: Role) -> QuerySet[Row]:
        """Those rows that belong to tenants in which the person has this role or a higher one.

        For what a role is needed to do; what may be seen at all, the database knows.

        The rows are tenants, or have a field `tenant`.
        """
        if self.is_operator:
            return queryset
        path = "pk__in" if queryset.model is Tenant else "tenant__in"
        return queryset.filter(**{path: self._tenant_ids(role)})

    def _tenant_ids(self, role: Role) -> list[int]:
        high_enough: Iterable[Role] = RANKS[RANKS.index(role) :]
        return [tenant_id for tenant_id, held in self.roles.items() if held in high_enough]


def access_of(user: AbstractBaseUser | AnonymousUser) -> Access:
    """What the person may do at this moment; nothing if nobody is signed in."""
    if not user.is_active or user.pk is None:
        return Access(False, {})
    if is_operator(user):
        return Access(True, {}, user.pk)
    with connection.cursor() as cursor:
        cursor.execute(ROLES_OF, [user.pk])
        roles = {tenant_id: Role(role) for tenant_id, role in cursor.fetchall()}
    return Access(False, roles, user.pk)


def is_operator(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Operators run the installation and see every tenant."""
    return bool(user.is_active and getattr(user, "is_superuser", False))
