"""Finds the device that a person names."""

from django.db.models import QuerySet

from devices.models import Device, Tenant
from devices.tenancy.scope import open_tenant_ids

# The most devices of one name that are looked at.
ENOUGH = 100


class Ambiguous(ValueError):
    """Several tenants have a device of this name; the text says which."""


def device_named(
    devices: QuerySet[Device], device_id: str, *, tenant: str | None = None
) -> Device | None:
    """The device with this ID among `devices`, in the tenant with this slug if one is given.

    None if the scope shows none. Raises Ambiguous if several tenants have one.
    """
    own = open_tenant_ids()
    # The scope filters by tenant too, but the index begins with the tenant.
    tenants = Tenant.objects.all() if own is None else own
    named = devices.filter(device_id=device_id, tenant__in=tenants)
    if tenant is not None:
        named = named.filter(tenant__slug=tenant)
    found = list(named.order_by()[:ENOUGH])
    if len(found) > 1:
        slugs = Tenant.objects.filter(pk__in=[one.tenant_id for one in found]).order_by("slug")
        raise Ambiguous(
            f"Several of your tenants have a device {device_id}; add ?tenant= and one of "
            f"{', '.join(slugs.values_list('slug', flat=True))}."
        )
    return found[0] if found else None
