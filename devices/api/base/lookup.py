"""The device that a URL names."""

from typing import Any, NamedTuple

from django.db.models import F, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.views import APIView

from devices.fleet.selectors import Ambiguous, device_named
from devices.http.errors import Conflict
from devices.models import Device

# The same for another tenant's device.
NO_DEVICE = "You have no device with this ID."


class DeviceName(NamedTuple):
    """The names of a device. `tenant` is its tenant's slug."""

    id: int
    device_id: str
    tenant: str


def device_in_path(view: APIView, devices: QuerySet[Any]) -> Device:
    """The device among these that the URL and its `?tenant=<slug>` name.

    Raises NotFound, or Conflict if several tenants have one and the URL names none of them.
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
    """The names of the device in the URL, for views of what it sent. Raises the same."""
    devices = Device.objects.only("device_id", "tenant_id").annotate(tenant_slug=F("tenant__slug"))
    device: Any = device_in_path(view, devices)
    return DeviceName(device.pk, device.device_id, device.tenant_slug)
