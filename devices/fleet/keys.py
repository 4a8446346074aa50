"""Device keys: `rc_<prefix>_<secret>`, shown once, stored as a hash, checked in constant time.

The secret has 190 bits of entropy, so one round of SHA-256 is enough: a slow hash protects weak
passwords, and this one cannot be guessed.
"""

import hashlib
import hmac
import secrets
import string
from base64 import b64encode
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q

from devices.fleet.rates import Rate, rate_of
from devices.models import Credential, Device, Registration, Tenant

ALPHABET = string.ascii_letters + string.digits
PREFIX_LENGTH = 10
SECRET_LENGTH = 32
MQTT_SALT_LENGTH = 12
# How long a rotated key may stay in force at most.
MAX_OVERLAP_S = 30 * 86_400


# A database function, because a key's tenant is needed before there is a scope.
BY_PREFIX = "SELECT * FROM devices_keys_by_prefix(%s)"


class NotInForce(ValueError):
    """The key has been revoked, or has been rotated and will be revoked."""

    def __init__(self, credential: Credential) -> None:
        super().__init__(f"The key {credential} has already been revoked or rotated.")


class IssuedKey(NamedTuple):
    """A credential and its key in clear text, which is not stored."""

    credential: Credential
    key: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """The owner of a key, and what the ingest endpoints need to know about it.

    For a gateway, which may send for all devices of its tenant, `id` and `device_id` are None.
    `interval_s` is the effective heartbeat interval in seconds. `tenant_limit` applies to all
    devices of the tenant together, `limit` to the device alone; None means no limit. `prefix` is
    the public part of the key, if there is one.
    """

    tenant_id: int
    id: int | None
    device_id: str | None
    interval_s: int
    registration: Registration
    is_pending: bool
    tenant_limit: Rate | None = None
    limit: Rate | None = None
    prefix: str = ""


class RevokedKey(NamedTuple):
    """Whose a revoked key was: a device of the tenant, or None for a gateway's."""

    prefix: str
    tenant_id: int
    device: int | None
    revoked_at: datetime


class FoundKeys(NamedTuple):
    """The owners of keys that work, and whose the others were that have been revoked."""

    speakers: dict[str, Speaker]
    revoked: dict[str, RevokedKey]


def gateway_credential_issue(*, tenant: Tenant, label: str = "") -> IssuedKey:
    """Issues a gateway key, which may send for all devices of the tenant."""
    issued = _issue(tenant_id=tenant.pk, device=None, label=label)
    issued.credential.save()
    return issued


def credential_issue(*, device: Device, label: str = "") -> IssuedKey:
    """Issues an additional key to the device; its other keys stay in force."""
    return credentials_issue(devices=[device], label=label)[0]


def credentials_issue(*, devices: Iterable[Device], label: str = "") -> list[IssuedKey]:
    """Issues an additional key to each device, in the order of `devices`, with a single insert."""
    issued = [_issue(tenant_id=device.tenant_id, device=device, label=label) for device in devices]
    Credential.objects.bulk_create([one.credential for one in issued], batch_size=1000)
    return issued


def credentials_revoke(*, ids: Sequence[int], ts: datetime) -> int:
    """Revokes the keys that are still in force; returns how many."""
    return Credential.objects.filter(in_force(ts), id__in=ids).update(revoked_at=ts)


def credential_rotate(
    *, credential: Credential, overlap_s: int, label: str, ts: datetime
) -> IssuedKey:
    """Issues a new key to the same device or gateway; the old one works for `overlap_s` more
    seconds. Raises NotInForce if the old one was already revoked or rotated.
    """
    until = ts + timedelta(seconds=overlap_s)
    lasting = Credential.objects.filter(pk=credential.pk, revoked_at=None)
    if not lasting.update(revoked_at=until):
        raise NotInForce(credential)
    issued = _issue(tenant_id=credential.tenant_id, device=credential.device, label=label)
    issued.credential.save()
    return issued


def in_force(ts: datetime) -> Q:
    """Selects the credentials that work right now."""
    return Q(revoked_at=None) | Q(revoked_at__gt=ts)


def speaker_for_key(key: str) -> Speaker | None:
    """The key's owner; None if the key is malformed, unknown or revoked, or its tenant inactive."""
    return speakers_for_keys([key]).get(key)


def speaker_for_tenant(slug: str) -> Speaker | None:
    """A speaker that may send for all devices of the tenant, as a gateway may; None if the tenant
    is unknown or inactive."""
    tenant = Tenant.objects.filter(slug=slug, is_active=True).first()
    if tenant is None:
        return None
    registration = Registration(tenant.registration)
    limit = rate_of(tenant.rate_per_s, tenant.burst)
    return Speaker(tenant.pk, None, None, tenant.default_interval_s, registration, False, limit)


def speakers_for_keys(keys: Sequence[str]) -> dict[str, Speaker]:
    """What speaker_for_key returns for each of these keys, found with a single query."""
    return dict(keys_find(keys).speakers)


def keys_find(keys: Sequence[str]) -> FoundKeys:
    """Who these keys belong to, and whose the revoked ones were, found with a single query. Only
    whoever has the whole secret is told that a key was revoked."""
    given = {key: _split(key) for key in keys}
    rows = _rows_of({prefix for prefix, _ in given.values() if prefix})
    found = FoundKeys({}, {})
    for key, (prefix, secret) in given.items():
        row = rows.get(prefix)
        if row is None or not hmac.compare_digest(row[1], secret_hash(secret)):
            continue
        if (revoked_at := row[12]) is None:
            found.speakers[key] = _speaker(row)
        else:
            found.revoked[key] = RevokedKey(prefix, row[2], row[3], revoked_at)
    return found


def _rows_of(prefixes: Set[str]) -> dict[str, tuple[Any, ...]]:
    """Written in SQL because it runs for almost every heartbeat, and the ORM would take 6 times as
    long to build the query."""
    if not prefixes:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(BY_PREFIX, [list(prefixes)])
        rows = cursor.fetchall()
    return {row[0]: row for row in rows}


def _speaker(row: tuple[Any, ...]) -> Speaker:
    tenant_id, device, device_id, interval_s, registration, is_pending = row[2:8]
    return Speaker(
        tenant_id,
        device,
        device_id,
        interval_s,
        Registration(registration),
        is_pending,
        rate_of(*row[8:10]),
        rate_of(*row[10:12]),
        row[0],
    )


def _issue(*, tenant_id: int, device: Device | None, label: str) -> IssuedKey:
    prefix, secret = random_text(PREFIX_LENGTH), random_text(SECRET_LENGTH)
    key = f"rc_{prefix}_{secret}"
    credential = Credential(
        tenant_id=tenant_id,
        device=device,
        prefix=prefix,
        secret_sha256=secret_hash(secret),
        mqtt_password_hash=mqtt_password_hash(key),
        label=label,
    )
    return IssuedKey(credential, key)


def _split(key: str) -> tuple[str, str]:
    marker, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    well_formed = marker == "rc" and len(prefix) == PREFIX_LENGTH and prefix.isalnum()
    return (prefix, secret) if well_formed and prefix.isascii() else ("", "")


def random_text(length: int) -> str:
    """A random string of letters and digits that cannot be guessed."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def secret_hash(secret: str) -> bytes:
    """The 32 bytes stored for a secret."""
    return hashlib.sha256(secret.encode()).digest()


def mqtt_password_hash(password: str, *, iterations: int = 1) -> str:
    """The hash in the format of mosquitto's password file: PBKDF2 with SHA-512 and a fresh salt.

    One iteration is enough for a key, for the reason given at the top of this module.
    """
    salt = secrets.token_bytes(MQTT_SALT_LENGTH)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${b64encode(salt).decode()}${b64encode(digest).decode()}"
