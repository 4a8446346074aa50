"""The device that an address names."""

from typing import Any, NamedTuple

from django.db.models import F, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.views import APIView

from devices.fleet.selectors import Ambiguous, device_named
from devices.http.errors import Conflict
from devices.models import Device

# One of another tenant is none, too.
NO_DEVICE = "You have no device with this ID."


class DeviceName(NamedTuple):
    """What names a device. `tenant` is its tenant's slug."""

    id: int
    device_id: str
    tenant: str


def device_in_path(view: APIView, devices: QuerySet[Any]) -> Device:
    """The device among these that the address and `?tenant=<slug>` name.

    Raises NotFound, and Conflict if it is not told of which tenant.
    """
    tenant = view.request.query_params.get("tenant")
    if tenant is not None and "\0" in tenant:
        raise NotFound(NO_DEVICE)
    try:
        found = device_named(devices, view.kwargs["device_id"], tenant=tenant)
    except Ambiguous as error:
        raise Conflict(str(error)) from None
    if found is None:
        raise NotFound(NO_DEVICE)
    return found


def name_in_path(view: APIView) -> DeviceName:
    """The same, of any device of the scope, for views of what it said."""
    devices = Device.objects.only("device_id", "tenant_id").annotate(tenant_slug=F("tenant__slug"))
    device: Any = device_in_path(view, devices)
    return DeviceName(device.pk, device.device_id, device.tenant_slug)
