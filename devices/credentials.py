"""Device keys: `rc_<prefix>_<secret>`, issued once, kept as a hash, checked in constant time.

The secret has 190 bits of entropy, so one round of SHA-256 is enough: a slow hash protects weak
passwords, and there is nothing here to guess.
"""

import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import F

from devices.models import Credential, Device

ALPHABET = string.ascii_letters + string.digits
PREFIX_LENGTH = 10
SECRET_LENGTH = 32


class IssuedKey(NamedTuple):
    """A credential with its key in the clear, for the one time that it is shown."""

    credential: Credential
    key: str


@dataclass(frozen=True, slots=True)
class SpeakingDevice:
    """A device that proved who it is, with what the door needs to know of it.

    `interval_s` is the device's effective heartbeat interval in seconds.
    """

    id: int
    tenant_id: int
    device_id: str
    interval_s: int


def credential_issue(*, device: Device, label: str = "") -> IssuedKey:
    """Gives the device one more key; the others stay in force."""
    return credentials_issue(devices=[device], label=label)[0]


def credentials_issue(*, devices: Iterable[Device], label: str = "") -> list[IssuedKey]:
    """Gives each device one more key, in the order of `devices`, with one insert."""
    issued = []
    for device in devices:
        prefix, secret = _random_text(PREFIX_LENGTH), _random_text(SECRET_LENGTH)
        credential = Credential(
            tenant_id=device.tenant_id,
            device=device,
            prefix=prefix,
            secret_sha256=_hash(secret),
            label=label,
        )
        issued.append(IssuedKey(credential, f"rc_{prefix}_{secret}"))
    Credential.objects.bulk_create([one.credential for one in issued], batch_size=1000)
    return issued


def credentials_revoke(*, ids: Sequence[int], ts: datetime) -> int:
    """Revokes those still in force; returns how many they were."""
    return Credential.objects.filter(id__in=ids, revoked_at=None).update(revoked_at=ts)


def device_for_key(key: str) -> SpeakingDevice | None:
    """The device whose key this is, or None for a malformed, unknown or revoked one.

    A key of an inactive tenant's device is as good as unknown.
    """
    prefix, secret = _split(key)
    row = (
        Credential.objects.filter(prefix=prefix, revoked_at=None, device__tenant__is_active=True)
        .annotate(device_name=F("device__device_id"))
        .values_list(
            "secret_sha256",
            "device_id",
            "tenant_id",
            "device_name",
            "device__expected_interval_s",
            "device__tenant__default_interval_s",
        )
        .first()
        if prefix
        else None
    )
    if row is None or not hmac.compare_digest(bytes(row[0]), _hash(secret)):
        return None
    return SpeakingDevice(row[1], row[2], row[3], row[4] or row[5])


def _split(key: str) -> tuple[str, str]:
    marker, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    well_formed = marker == "rc" and len(prefix) == PREFIX_LENGTH and prefix.isalnum()
    return (prefix, secret) if well_formed and prefix.isascii() else ("", "")


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
