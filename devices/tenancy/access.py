"""Which tenants a person may see, and what the person may do in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from devices.models import Membership, Tenant

Row = TypeVar("Row", bound=Model)
Role = Membership.Role

RANKS = (Role.VIEWER, Role.MANAGER, Role.OWNER)

# A database function, because the roles are needed before a scope is open in which to read them.
ROLES_OF = "SELECT tenant_id, role FROM devices_roles_of(%s)"
FIELDS = User._meta.concrete_fields
PERSON = f"""
SELECT {", ".join(f"person.{field.column}" for field in FIELDS)}, (
    SELECT coalesce(json_object_agg(tenant_id, role), '{{}}') FROM devices_roles_of(person.id)
) AS roles
FROM auth_user person WHERE person.id = %s
"""


@dataclass(frozen=True, slots=True)
class Access:
    """What a person may do: their roles, by tenant id. An operator may do everything.

    `user_id` is None if nobody is signed in.
    """

    is_operator: bool
    roles: Mapping[int, Role]
    user_id: int | None = None

    def allows(self, role: Role, tenant_id: int | None = None) -> bool:
        """True if the person has this role or a higher one in the tenant (None: in any tenant)."""
        if self.is_operator:
            return True
        tenant_ids = self._tenant_ids(role)
        return bool(tenant_ids) if tenant_id is None else tenant_id in tenant_ids

    def narrow(self, queryset: QuerySet[Row], role: Role) -> QuerySet[Row]:
        """Selects rows that belong to tenants in which the person has this role or a higher one.

        This is for actions that need a role; which rows may be seen is decided by the database. The
        rows are tenants or have a field `tenant`.
        """
        if self.is_operator:
            return queryset
        path = "pk__in" if queryset.model is Tenant else "tenant__in"
        return queryset.filter(**{path: self._tenant_ids(role)})

    def _tenant_ids(self, role: Role) -> list[int]:
        high_enough: Iterable[Role] = RANKS[RANKS.index(role) :]
        return [tenant_id for tenant_id, held in self.roles.items() if held in high_enough]


def person_read(user_id: int) -> User | None:
    """The person together with their roles, which access_of needs, in one query; None if there is
    no such person."""
    with connection.cursor() as cursor:
        cursor.execute(PERSON, [user_id])
        row = cursor.fetchone()
    if row is None:
        return None
    *values, roles = row
    user = User.from_db(connection.alias, [field.attname for field in FIELDS], values)
    user.roles = roles  # type: ignore[attr-defined]
    return user


def access_of(user: AbstractBaseUser | AnonymousUser) -> Access:
    """What the person may do: now or, if person_read was used, at the time it ran. Nothing if
    nobody is signed in."""
    if not user.is_active or user.pk is None:
        return Access(False, {})
    if is_operator(user):
        return Access(True, {}, user.pk)
    read: Mapping[str, str] | None = getattr(user, "roles", None)
    held = _roles_of(user.pk) if read is None else read.items()
    return Access(False, {int(tenant_id): Role(role) for tenant_id, role in held}, user.pk)


def _roles_of(user_id: int) -> Iterable[tuple[int, str]]:
    with connection.cursor() as cursor:
        cursor.execute(ROLES_OF, [user_id])
        return cast(list[tuple[int, str]], cursor.fetchall())


def is_operator(user: AbstractBaseUser | AnonymousUser) -> bool:
    """True for operators, who run the installation and see every tenant."""
    return bool(user.is_active and getattr(user, "is_superuser", False))


def access_in(request: HttpRequest) -> Access:
    """The requester's access, read once per request."""
    if not hasattr(request, "rollcall_access"):
        request.rollcall_access = access_of(request.user)  # type: ignore[attr-defined]
    return request.rollcall_access  # type: ignore[attr-defined]


def sees_several_tenants(request: HttpRequest) -> bool:
    access = access_in(request)
    return access.is_operator or len(access.roles) > 1


def tenant_id_of(row: Model | None) -> int | None:
    """The id of the tenant that the row is or belongs to."""
    return row.pk if isinstance(row, Tenant) else getattr(row, "tenant_id", None)
