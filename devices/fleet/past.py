"""The past of a deleted device, which a device that is added under the same ID may take up.

What a device has sent stays stored under our id of it. So the new device gets the old id, and
nothing has to be moved.
"""

from datetime import datetime
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Subquery, Value

from devices.lookups import Canonical
from devices.models import Device, HistoryEntry


class NoPast(ValueError):
    """The tenant has deleted no device with this ID whose past could be taken up."""


class Past(NamedTuple):
    """A deleted device: our id, the ID it had, and when it was first added and last deleted."""

    id: int
    device_id: str
    added_at: datetime
    deleted_at: datetime


def past_of(*, tenant_id: int, device_id: str) -> Past | None:
    """The deleted device of the tenant that had this ID, in any spelling; None if there is none, or
    another device has taken up its past already.

    If there were several, the one that existed longest: a device that a gateway has just added
    again, before somebody noticed, has no past worth the name.
    """
    deleted = HistoryEntry.objects.filter(
        subject=HistoryEntry.Subject.DEVICE,
        change=HistoryEntry.Change.DELETE,
        tenant_id=tenant_id,
    )
    named = deleted.alias(form=Canonical("object_name")).filter(form=Canonical(Value(device_id)))
    free = named.filter(~Exists(Device.objects.filter(pk=OuterRef("object_id"))))
    own = HistoryEntry.objects.filter(
        subject=HistoryEntry.Subject.DEVICE, object_id=OuterRef("object_id")
    )
    added_at = Subquery(own.order_by("number").values("at")[:1])
    rows = free.order_by("-number").values_list("object_id", "object_name", added_at, "at")
    pasts: dict[int, Past] = {}
    for row in rows:
        pasts.setdefault(row[0], Past(*row))
    return max(pasts.values(), key=lambda past: past.deleted_at - past.added_at, default=None)


def past_take_up(*, device: Device) -> None:
    """Gives a device that is not saved yet our id of the deleted one. Raises NoPast.

    The scope and the id's own primary key keep this safe: what is stored names its tenant, and of
    two devices that want the same past one fails.
    """
    past = past_of(tenant_id=device.tenant_id, device_id=device.device_id)
    if past is None:
        raise NoPast("This tenant has not deleted a device with this ID.")
    device.pk = past.id
