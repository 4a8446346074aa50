"""Finding what people name."""

from django.db.models import QuerySet

from devices.models import Device, Tenant
from devices.scope import open_tenant_ids


class Ambiguous(ValueError):
    """Several tenants have what was named; the text says which."""


def device_named(
    devices: QuerySet[Device], device_id: str, *, tenant: str | None = None
) -> Device | None:
    """The device of that name among `devices`, of the tenant with that slug if one is named.

    None if there is none that the scope shows. Raises Ambiguous if several tenants have one.
    """
    # By tenants, though the scope says so too: the index begins with them.
    own: QuerySet[Tenant] | frozenset[int] | None = open_tenant_ids()
    if own is None:
        own = Tenant.objects.all()
    named = devices.filter(tenant__in=own, device_id=device_id)
    if tenant is not None:
        named = named.filter(tenant__slug=tenant)
    found = list(named.order_by()[:100])
    if len(found) > 1:
        slugs = ", ".join(sorted(one.tenant.slug for one in found))
        raise Ambiguous(
            f"Several of your tenants have a device {device_id}; add ?tenant= and one of {slugs}."
        )
    return found[0] if found else None
