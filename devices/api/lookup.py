"""The device that an address names."""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.views import APIView

from devices.api.refusals import Conflict
from devices.models import Device
from devices.selectors import Ambiguous, device_named


def device_in_path(view: APIView, devices: QuerySet[Device]) -> Device:
    """The device among these that the address and `?tenant=<slug>` name.

    Raises Http404, and Conflict if it is not told of which tenant.
    """
    tenant = view.request.query_params.get("tenant")
    if tenant is not None and "\0" in tenant:
        raise Http404
    try:
        device = device_named(devices, view.kwargs["device_id"], tenant=tenant)
    except Ambiguous as error:
        raise Conflict(str(error)) from None
    if device is None:
        raise Http404
    return device


def name_in_path(view: APIView) -> Device:
    """The same, of any device of the scope, for views of what it said: what names it is all that
    is read of it."""
    named = Device.objects.select_related("tenant").only("device_id", "tenant__slug")
    return device_in_path(view, named)
