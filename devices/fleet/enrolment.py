"""Enrolment: devices add themselves with a token that is shown once, also as a QR code.

A token is `rt_<prefix>_<secret>`, stored as a hash like a device's key.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from devices.fleet.keys import (
    PREFIX_LENGTH,
    SECRET_LENGTH,
    credential_issue,
    random_text,
    secret_hash,
)
from devices.fleet.registration import devices_find
from devices.http.origin import origin_note
from devices.models import Device, EnrolmentToken, Tenant, device_id_validator
from devices.tenancy.scope import tenant_scope

KEY_LABEL = "enrolled"


class TokenRefused(ValueError):
    """The token does not work; the text says why."""


class DeviceIdRefused(ValueError):
    """The device ID is invalid; the text says why."""


class DeviceExists(ValueError):
    """The tenant already has this device, and a token cannot be used to take over a device."""


class DeviceLimitReached(ValueError):
    """The tenant has reached its device limit."""


class Enrolled(NamedTuple):
    """A new device and its key in clear text, which is not stored."""

    device: Device
    key: str
    interval_s: int


def token_issue(*, token: EnrolmentToken) -> str:
    """Saves a new token with a fresh secret; returns it in clear text, which is not stored."""
    prefix, secret = random_text(PREFIX_LENGTH), random_text(SECRET_LENGTH)
    token.prefix = prefix
    token.secret_sha256 = secret_hash(secret)
    token.uses_left = token.max_uses
    token.save(force_insert=True)
    return f"rt_{prefix}_{secret}"


def tokens_revoke(*, ids: Sequence[int], ts: datetime) -> int:
    """Revokes the tokens that are not revoked yet; returns how many."""
    return EnrolmentToken.objects.filter(id__in=ids, revoked_at=None).update(revoked_at=ts)


def device_enrol(
    *, token: str, device_id: str, name: str, kind: Device.Kind, ts: datetime
) -> Enrolled:
    """Adds a device with a key to the token's tenant, site and group, which takes one of the
    token's uses.

    Raises TokenRefused, DeviceIdRefused, DeviceExists or DeviceLimitReached; in that case nothing
    has changed, and the token has as many uses left as before.
    """
    prefix, secret = _split(token)
    origin_note(token=f"rt_{prefix}_…")
    with tenant_scope(tenant_ids=_tenants_of(prefix)):
        return _enrol(_token(prefix, secret, ts), device_id, name, kind, ts)


def _enrol(
    found: EnrolmentToken, device_id: str, name: str, kind: Device.Kind, ts: datetime
) -> Enrolled:
    _use(found, ts)
    # The site or group could be deleted until this point; from here on the token is locked.
    found.refresh_from_db(fields=("site", "group"))
    # From here on, no other enrolment or registration can add a device to this tenant.
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=found.tenant_id)
    if known := devices_find(tenant_id=tenant.pk, device_ids=(device_id,)):
        holder = Device.objects.get(pk=known[device_id].id)
        raise DeviceExists(_exists(device_id, holder.device_id))
    if Device.objects.filter(tenant=tenant).count() >= tenant.device_limit:
        raise DeviceLimitReached(f"the tenant's limit of {tenant.device_limit} devices is reached")
    device = Device(
        tenant=tenant,
        device_id=device_id,
        name=name,
        kind=kind,
        site_id=found.site_id,
        group_id=found.group_id,
    )
    _add(device)
    key = credential_issue(device=device, label=KEY_LABEL).key
    return Enrolled(device, key, tenant.default_interval_s)


def token_state(token: EnrolmentToken, *, ts: datetime) -> str:
    """Why the token no longer works, such as `expired`; "" while it works."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at <= ts:
        return "expired"
    return "" if token.uses_left else "used up"


def _split(text: str) -> tuple[str, str]:
    marker, _, rest = text.partition("_")
    prefix, _, secret = rest.partition("_")
    return (prefix, secret) if marker == "rt" and prefix.isalnum() else ("", "")


def _tenants_of(prefix: str) -> list[int]:
    """The token's tenant, which is needed before a scope is open; empty if unknown."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT devices_enrolmenttoken_tenant(%s)", [prefix])
        (tenant_id,) = cursor.fetchone()
    return [] if tenant_id is None else [tenant_id]


def _token(prefix: str, secret: str, ts: datetime) -> EnrolmentToken:
    found = EnrolmentToken.objects.select_related("tenant").filter(prefix=prefix).first()
    if found is None or not hmac.compare_digest(bytes(found.secret_sha256), secret_hash(secret)):
        raise TokenRefused("this enrolment token is unknown")
    if state := token_state(found, ts=ts):
        raise TokenRefused(f"this enrolment token is {state}")
    if not found.tenant.is_active:
        raise TokenRefused("this enrolment token belongs to an inactive tenant")
    return found


def _use(token: EnrolmentToken, ts: datetime) -> None:
    """Takes one of the token's uses atomically, so that only one of two requests gets the last."""
    usable = EnrolmentToken.objects.filter(
        pk=token.pk, uses_left__gt=0, revoked_at=None, expires_at__gt=ts
    )
    if not usable.update(uses_left=F("uses_left") - 1):
        raise TokenRefused("this enrolment token is used up")


def _add(device: Device) -> None:
    try:
        device_id_validator(device.device_id)
    except ValidationError as error:
        raise DeviceIdRefused(error.messages[0]) from None
    try:
        with transaction.atomic():
            device.save(force_insert=True)
    except IntegrityError:  # somebody added it at the same moment
        raise DeviceExists(_exists(device.device_id, device.device_id)) from None


def _exists(device_id: str, holder: str) -> str:
    known = holder if holder == device_id else f"{holder}, which is also called {device_id},"
    return f"the device {known} already exists; a token does not take over a device"
