"""Devices that register themselves, if their tenant allows it."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from devices.fleet.rates import Rate, rate_of
from devices.models import Device, Registration, Tenant, device_id_validator

log = logging.getLogger(__name__)


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
    """The devices that exist now, by the names asked for, and why each refused name was refused."""

    devices: dict[str, KnownDevice]
    refused: dict[str, str]


PLAIN = Description("", Device.Kind.SENSOR)
UNKNOWN = (
    "unknown device; add it, or let devices add themselves: set Registration on the tenant's page"
)
NO_TENANT = "unknown device, and its tenant was deleted"
NOT_DESCRIBED: Mapping[str, Description] = {}

# The forms come first: a policy's table is not looked up by the result of a function of its rows.
FIND = """
WITH asked AS MATERIALIZED (
    SELECT name, devices_canonical(name) AS canonical FROM unnest(%s::text[]) AS name
)
SELECT asked.name, d.id, d.is_pending, coalesce(d.expected_interval_s, t.default_interval_s),
       d.rate_per_s, d.burst, t.device_rate_per_s, t.device_burst
FROM asked
JOIN devices_devicename n ON n.tenant_id = %s AND n.canonical = asked.canonical
JOIN devices_device d ON d.id = n.device_id
JOIN devices_tenant t ON t.id = d.tenant_id
"""
FORMS = "SELECT name, devices_canonical(name) FROM unnest(%s::text[]) AS name"


def devices_find(*, tenant_id: int, device_ids: Collection[str]) -> dict[str, KnownDevice]:
    """The tenant's devices with these names, by the names as they are given here: a device ID or an
    alias, in any spelling. Written in SQL because each row needs the name that was asked for."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, [list(device_ids), tenant_id])
        rows = cursor.fetchall()
    return {
        name: KnownDevice(
            device, is_pending, interval_s, rate_of(*limit[:2]) or rate_of(*limit[2:])
        )
        for name, device, is_pending, interval_s, *limit in rows
    }


def forms_of(names: Collection[str]) -> dict[str, str]:
    """The canonical form of each name: spellings of one ID have the same."""
    if not names:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(FORMS, [list(names)])
        return dict(cursor.fetchall())


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
    the same devices at the same time, in whatever spelling, get the same devices.
    """
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
        if tenant is None:  # its keys may be cached for a few seconds
            return Registered({}, dict.fromkeys(device_ids, NO_TENANT))
        known = devices_find(tenant_id=tenant_id, device_ids=device_ids)
        unknown = _new([name for name in device_ids if name not in known])
        refused = _refused(tenant, unknown)
        wanted = [one for one in unknown if one.names[0] not in refused]
        if wanted:
            _add(tenant, wanted, described)
            asked = [name for one in wanted for name in one.names]
            known |= devices_find(tenant_id=tenant_id, device_ids=asked)
    return Registered(known, refused)


class _New(NamedTuple):
    """A device to be added: its ID, and the spellings of it that were asked for."""

    device_id: str
    names: list[str]


def _new(names: Collection[str]) -> list[_New]:
    """The devices with these names, each with its first spelling that can be a device ID."""
    forms = forms_of(names)
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(forms[name], []).append(name)
    return [
        _New(next((one for one in some if not _wrong_name(one)), form), some)
        for form, some in spellings.items()
    ]


def _add(tenant: Tenant, wanted: Sequence[_New], described: Mapping[str, Description]) -> None:
    """Adds the devices, except those that people, who take no lock, are adding or renaming to right
    now."""
    pending = tenant.registration == Registration.PENDING
    devices = [
        Device(
            tenant=tenant,
            device_id=device_id,
            is_pending=pending,
            **next((described[one] for one in names if one in described), PLAIN)._asdict(),
        )
        for device_id, names in wanted
    ]
    try:
        with transaction.atomic():
            Device.objects.bulk_create(devices, ignore_conflicts=True)
    except IntegrityError:  # a name has just become an alias, or was added in another spelling
        for device in devices:
            _add_unless_taken(device)


def _add_unless_taken(device: Device) -> None:
    try:
        with transaction.atomic():
            device.save(force_insert=True)
    except IntegrityError:
        log.info("somebody else has just used the name %s", device.device_id)


def _refused(tenant: Tenant, unknown: Sequence[_New]) -> dict[str, str]:
    """Why names are refused."""
    if not unknown:
        return {}
    if tenant.registration == Registration.OFF:
        return {name: UNKNOWN for one in unknown for name in one.names}
    refused = {
        name: reason
        for one in unknown
        if _wrong_name(one.device_id)
        for name in one.names
        if (reason := _wrong_name(name))
    }
    room = tenant.device_limit - Device.objects.filter(tenant=tenant).count()
    beyond = [one for one in unknown if one.names[0] not in refused][max(0, room) :]
    limit = f"unknown device, and the tenant's limit of {tenant.device_limit} devices is reached"
    return refused | {name: limit for one in beyond for name in one.names}


def _wrong_name(name: str) -> str | None:
    try:
        device_id_validator(name)
    except ValidationError as error:
        return f"{name!r} is not a device ID: {error.messages[0]}"
    return None
