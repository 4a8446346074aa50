"""Finds the device that a URL refers to."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from django.db.models import F, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.views import APIView

from devices.fleet.selectors import Ambiguous, device_named, device_read
from devices.http.errors import Conflict
from devices.models import Device

Found = TypeVar("Found")
# The message is the same for a device that belongs to a different tenant.
NO_DEVICE = "You have no device with this ID."


class DeviceName(NamedTuple):
    """What identifies a device. `tenant` is the slug of its tenant."""

    id: int
    device_id: str
    tenant: str


def device_in_path(view: APIView, devices: QuerySet[Device]) -> Device:
    """The one of these devices that the URL and its `?tenant=<slug>` refer to.

    Raises NotFound, or Conflict if several tenants have such a device and the URL does not name a
    tenant.
    """
    return _in_path(view, device_named, devices)


def row_in_path(view: APIView, devices: Callable[[], QuerySet[Device]]) -> dict[str, Any]:
    """The same device, in the form in which devices.fleet.selectors.device_read returns it."""
    return _in_path(view, device_read, devices)


def name_in_path(view: APIView) -> DeviceName:
    """The same for any device in the scope, for views that show what it has sent."""
    row = row_in_path(view, _names)
    return DeviceName(row["id"], row["device_id"], row["tenant_slug"])


def _names() -> QuerySet[Device]:
    return Device.objects.only("device_id", "tenant_id").annotate(tenant_slug=F("tenant__slug"))


def _in_path(view: APIView, find: Callable[..., Found | None], devices: object) -> Found:
    tenant = view.request.query_params.get("tenant")
    if tenant is not None and "\0" in tenant:
        raise NotFound(NO_DEVICE)
    try:
        found = find(devices, view.kwargs["device_id"], tenant=tenant)
    except Ambiguous as error:
        raise Conflict(str(error)) from None
    if found is None:
        raise NotFound(NO_DEVICE)
    return found
