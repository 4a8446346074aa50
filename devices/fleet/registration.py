"""Devices that register themselves, if their tenant allows it."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Coalesce

from devices.fleet.rates import Rate, rate_of
from devices.models import Device, Registration, Tenant, device_id_validator


class KnownDevice(NamedTuple):
    """A device, identified by our id. The messages from a pending device are held until it is
    approved. `interval_s` is its effective heartbeat interval in seconds, `limit` the limit that
    applies to it, if any."""

    id: int
    is_pending: bool
    interval_s: int
    limit: Rate | None = None


class Description(NamedTuple):
    """What is known about a device when it registers itself; it may be changed later."""

    name: str
    kind: Device.Kind


class Registered(NamedTuple):
    """The devices that exist now, by device ID, and why each refused ID was refused."""

    devices: dict[str, KnownDevice]
    refused: dict[str, str]


PLAIN = Description("", Device.Kind.SENSOR)
UNKNOWN = (
    "unknown device; add it, or let devices add themselves: set Registration on the tenant's page"
)
NO_TENANT = "unknown device, and its tenant was deleted"
NOT_DESCRIBED: Mapping[str, Description] = {}


def devices_find(*, tenant_id: int, device_ids: Collection[str]) -> dict[str, KnownDevice]:
    """Those of these devices that the tenant has, by device ID."""
    rows = Device.objects.filter(tenant_id=tenant_id, device_id__in=device_ids)
    values = rows.order_by().values_list(
        "device_id",
        "id",
        "is_pending",
        Coalesce("expected_interval_s", "tenant__default_interval_s"),
        "rate_per_s",
        "burst",
        "tenant__device_rate_per_s",
        "tenant__device_burst",
    )
    return {
        name: KnownDevice(
            device, is_pending, interval_s, rate_of(*limit[:2]) or rate_of(*limit[2:])
        )
        for name, device, is_pending, interval_s, *limit in values
    }


def pending_among(*, ids: Collection[int]) -> set[int]:
    """Those of these devices that are still waiting for approval."""
    return set(Device.objects.filter(id__in=ids, is_pending=True).values_list("id", flat=True))


def devices_approve(*, ids: Collection[int]) -> int:
    """Approves devices that registered themselves; returns how many were pending.

    Their held messages are stored within seconds: see ingest.storage.replay.
    """
    return Device.objects.filter(id__in=ids, is_pending=True).update(is_pending=False)


def devices_register(
    *,
    tenant_id: int,
    device_ids: Collection[str],
    described: Mapping[str, Description] = NOT_DESCRIBED,
) -> Registered:
    """Adds the devices that do not exist yet, as far as the tenant's policy and limit allow.

    `described` has what is known about some of the devices, by device ID. Callers that register
    the same devices at the same time get the same devices.
    """
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
        if tenant is None:  # its keys may be cached for a few seconds
            return Registered({}, dict.fromkeys(device_ids, NO_TENANT))
        known = devices_find(tenant_id=tenant_id, device_ids=device_ids)
        refused = _refused(tenant, [name for name in device_ids if name not in known])
        wanted = [name for name in device_ids if name not in known and name not in refused]
        if wanted:
            pending = tenant.registration == Registration.PENDING
            Device.objects.bulk_create(
                (
                    Device(
                        tenant=tenant,
                        device_id=name,
                        is_pending=pending,
                        **described.get(name, PLAIN)._asdict(),
                    )
                    for name in wanted
                ),
                ignore_conflicts=True,  # people, who take no lock, may be adding one right now
            )
            known |= devices_find(tenant_id=tenant_id, device_ids=wanted)
    return Registered(known, refused)


def _refused(tenant: Tenant, names: Collection[str]) -> dict[str, str]:
    if not names:
        return {}
    if tenant.registration == Registration.OFF:
        return dict.fromkeys(names, UNKNOWN)
    refused = {name: reason for name in names if (reason := _wrong_name(name))}
    room = tenant.device_limit - Device.objects.filter(tenant=tenant).count()
    beyond = [name for name in names if name not in refused][max(0, room) :]
    limit = f"unknown device, and the tenant's limit of {tenant.device_limit} devices is reached"
    return refused | dict.fromkeys(beyond, limit)


def _wrong_name(name: str) -> str | None:
    try:
        device_id_validator(name)
    except ValidationError as error:
        return f"{name!r} is not a device ID: {error.messages[0]}"
    return None
