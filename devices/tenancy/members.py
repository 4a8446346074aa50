"""Members of tenants, and the rule that a tenant keeps an owner."""

from collections.abc import Collection

from devices.models import Membership, Tenant
from devices.tenancy.access import Role


class LastOwner(ValueError):
    """The tenant would be left without an owner."""

    def __init__(self) -> None:
        super().__init__("A tenant needs at least one owner: make somebody else an owner first.")


def owner_ensure_other(*, tenant_id: int, leaving: Collection[int]) -> None:
    """Raises LastOwner if, without these memberships (ids), the tenant would have no owner left.

    Call it in the transaction that changes the memberships: it locks the tenant, so that other
    callers wait until the transaction ends. A tenant that already has no owner may stay that way.
    """
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    owners = set(
        Membership.objects.filter(tenant_id=tenant_id, role=Role.OWNER).values_list("pk", flat=True)
    )
    if owners & set(leaving) and not owners - set(leaving):
        raise LastOwner
