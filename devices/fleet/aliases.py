"""Previous IDs of devices, which still find them. A trigger adds them (devices.models)."""

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef

from devices.models import Device, DeviceAlias


def aliases_of_each() -> ArraySubquery:
    """The aliases of each device of a query, in alphabetical order."""
    own = DeviceAlias.objects.filter(device=OuterRef("pk"))
    return ArraySubquery(own.order_by("alias").values("alias"))


def alias_remove(*, device: Device, alias: str) -> bool:
    """Removes an alias, so that another device may get this ID; False if the device has no such
    alias. Processes of the door may still know it for 30 s.

    Locks the device first, as somebody does who renames it.
    """
    list(Device.objects.select_for_update(no_key=True).filter(pk=device.pk).values("pk"))
    removed, _ = DeviceAlias.objects.filter(device=device, alias=alias).delete()
    return bool(removed)
