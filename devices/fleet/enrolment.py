"""Enrolment: a token, shown once or scanned as a QR code, by which devices add themselves.

A token is `rt_<prefix>_<secret>`, kept as a hash, like a device's key.
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
from devices.http.origin import origin_note
from devices.models import Device, EnrolmentToken, Tenant, device_id_validator
from devices.tenancy.scope import tenant_scope

KEY_LABEL = "enrolled"


class TokenRefused(ValueError):
    """The token opens nothing; the text says why."""


class DeviceIdRefused(ValueError):
    """No device can have this ID; the text says why."""


class DeviceExists(ValueError):
    """The tenant has this device already, and a token never takes over a device."""


class DeviceLimitReached(ValueError):
    """The tenant has as many devices as may add themselves."""


class Enrolled(NamedTuple):
    """A new device with its key in the clear, for the one time that it is told."""

    device: Device
    key: str
    interval_s: int


def token_issue(*, token: EnrolmentToken) -> str:
    """Saves a new token with a secret of its own; returns it in the clear, for the one time."""
    prefix, secret = random_text(PREFIX_LENGTH), random_text(SECRET_LENGTH)
    token.prefix = prefix
    token.secret_sha256 = secret_hash(secret)
    token.uses_left = token.max_uses
    token.save(force_insert=True)
    return f"rt_{prefix}_{secret}"


def tokens_revoke(*, ids: Sequence[int], ts: datetime) -> int:
    """Revokes those that are not; returns how many they were."""
    return EnrolmentToken.objects.filter(id__in=ids, revoked_at=None).update(revoked_at=ts)


def device_enrol(
    *, token: str, device_id: str, name: str, kind: Device.Kind, ts: datetime
) -> Enrolled:
    """Adds a device with a key to the token's tenant, site and group; uses the token once.

    Raises TokenRefused, DeviceIdRefused, DeviceExists and DeviceLimitReached; then nothing
    changed, and the token may be used as often as before.
    """
    prefix, secret = _split(token)
    origin_note(token=f"rt_{prefix}_…")
    with tenant_scope(tenant_ids=_tenants_of(prefix)):
        return _enrol(_token(prefix, secret, ts), device_id, name, kind, ts)


def _enrol(
    found: EnrolmentToken, device_id: str, name: str, kind: Device.Kind, ts: datetime
) -> Enrolled:
    _use(found, ts)
    # Until now its site or group may have been deleted; from here on the token is locked.
    found.refresh_from_db(fields=("site", "group"))
    # From here on no other enrolment or registration adds a device to this tenant.
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=found.tenant_id)
    if Device.objects.filter(tenant=tenant, device_id=device_id).exists():
        raise DeviceExists(_exists(device_id))
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
    """Why it opens nothing any more, in words; "" while it does."""
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
    """The tenant whose token this is, which has to be known before there is a scope; or none."""
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
        raise TokenRefused("this enrolment token is of a tenant that is not active")
    return found


def _use(token: EnrolmentToken, ts: datetime) -> None:
    """Counts a use in one step, so that of two who want the last one, one gets it."""
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
    except IntegrityError:  # staff added it at the same moment
        raise DeviceExists(_exists(device.device_id)) from None


def _exists(device_id: str) -> str:
    return f"the device {device_id} exists already; a token does not take over a device"
