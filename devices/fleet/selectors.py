"""Finds the device that somebody has named."""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import QuerySet, Value

from devices.lookups import Canonical
from devices.models import Device, Tenant
from devices.tenancy.scope import open_tenant_ids

# The maximum number of devices with the same name to read.
ENOUGH = 100


class Ambiguous(ValueError):
    """Several tenants have a device with this name; the message lists them."""


def device_named(
    devices: QuerySet[Device], device_id: str, *, tenant: str | None = None
) -> Device | None:
    """The device with this ID or alias, in any spelling, among `devices`; in the tenant with this
    slug if one is given.

    None if the scope shows no such device. Raises Ambiguous if several tenants have one.
    """
    found = list(_named(devices, device_id, open_tenant_ids(), tenant))
    _check_single(device_id, [one.tenant_id for one in found])
    return found[0] if found else None


def device_read(
    devices: Callable[[], QuerySet[Device]], device_id: str, *, tenant: str | None = None
) -> dict[str, Any] | None:
    """The same device for reading only: its columns and annotations by name.

    The query is compiled once for each function `devices`. Building and compiling it every time
    would take five times as long as running it, which is at least a fifth of the time taken by the
    requests that use it (the API's endpoints for one device).
    """
    own = open_tenant_ids()
    if own is not None and not own:
        return None
    statement = _compiled(devices, None if own is None else len(own), tenant is not None)
    values = [device_id, *(own or ()), *(() if tenant is None else (tenant,))]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    _check_single(device_id, [one["tenant_id"] for one in found])
    return found[0] if found else None


@lru_cache(maxsize=256)
def _compiled(devices: Callable[[], QuerySet[Device]], tenants: int | None, by_slug: bool) -> str:
    """The statement for this number of tenants (None: for all). Its parameters are the name, the
    tenants' ids and the slug, in this order."""
    own = None if tenants is None else range(tenants)
    query = _named(devices(), "", own, "" if by_slug else None).query
    return str(query.sql_with_params()[0])


def _named(
    devices: QuerySet[Device], device_id: str, own: Collection[int] | None, tenant: str | None
) -> QuerySet[Device]:
    # Filters by tenant although the scope does so too, because the index begins with the tenant.
    wanted: dict[str, Any] = {
        "names__canonical": Canonical(Value(device_id)),
        "names__tenant__in": Tenant.objects.all() if own is None else own,
    }
    named = devices.filter(**wanted)
    if tenant is not None:
        named = named.filter(tenant__slug=tenant)
    return named.order_by()[:ENOUGH]


def _check_single(device_id: str, tenant_ids: list[int]) -> None:
    if len(tenant_ids) > 1:
        slugs = Tenant.objects.filter(pk__in=tenant_ids).order_by("slug")
        raise Ambiguous(
            f"Several of your tenants have a device {device_id}; add ?tenant= and one of "
            f"{', '.join(slugs.values_list('slug', flat=True))}."
        )
