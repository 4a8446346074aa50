"""A demo tenant with people, sites and phones, which is created once and then kept, and the file
that says how to use it."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet
from msgspec import Struct

from devices.fleet.keys import (
    credentials_issue,
    gateway_credential_issue,
    speaker_for_key,
    speakers_for_keys,
)
from devices.models import Credential, Device, Membership, Site, Tenant

TENANT = "demo"
ADMIN = "admin"
MEMBER = "demo"
LABEL = "demo"
GATEWAY_LABEL = "demo gateway"
# Short enough to watch a phone become late and then offline.
INTERVAL_S = 10
GRACE_S = 5


class Place(NamedTuple):
    name: str
    latitude_deg: float
    longitude_deg: float


PLACES = (
    Place("Hamburg depot", 53.5413, 9.9841),
    Place("Rotterdam harbour", 51.9490, 4.1453),
    Place("Gothenburg workshop", 57.7072, 11.9668),
)
PEOPLE = (
    *("Amara", "Björn", "Chloé", "Daniel", "Elif", "Farid", "Greta", "Hiroshi", "Ines", "Jakub"),
    *("Kofi", "Lena", "Mateo", "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tove"),
    *("Umut", "Vera", "Wanda", "Ximena", "Yusuf"),
)


class DemoDevice(Struct, frozen=True):
    """A phone and its key in clear text."""

    device_id: str
    token: str


class Demo(Struct, frozen=True):
    """The contents of `var/demo.json`. The tenant's member uses the same password as the admin."""

    portal_url: str
    ingest_url: str
    admin_user: str
    admin_password: str
    tenant: str
    devices: list[DemoDevice]
    gateway_key: str | None
    database_url: str
    valkey_url: str


class Addresses(NamedTuple):
    """Where the demo runs; written to the file unchanged."""

    portal_url: str
    ingest_url: str
    database_url: str
    valkey_url: str


@transaction.atomic
def demo_prepare(*, count: int, addresses: Addresses, remembered: Demo | None) -> Demo:
    """Returns the demo with `count` phones; creates what is missing.

    Only `remembered` has the password and keys in clear text: those that still work are kept, the
    rest are replaced. A key that somebody revoked is not replaced: its phone is left out, or, if it
    is the gateway's key, the key is None.
    """
    tenant, _ = Tenant.objects.get_or_create(slug=TENANT, defaults={"name": "Demo"})
    password = _people(tenant, remembered.admin_password if remembered else "")
    if not tenant.sites.exists():
        Site.objects.bulk_create(Site(tenant=tenant, **place._asdict()) for place in PLACES)
    phones = phones_ensure(tenant=tenant, count=count)
    known = {one.device_id: one.token for one in remembered.devices} if remembered else {}
    return Demo(
        **addresses._asdict(),
        admin_user=ADMIN,
        admin_password=password,
        tenant=tenant.slug,
        devices=_with_keys(phones, known),
        gateway_key=_gateway_key(tenant, remembered.gateway_key if remembered else None),
    )


def phones_ensure(*, tenant: Tenant, count: int, interval_s: int = INTERVAL_S) -> list[Device]:
    """The tenant's phones `phone-001` to `phone-<count>`, in order; creates missing ones.

    A phone that was renamed is the same phone. `interval_s` is the expected interval for new
    phones.
    """
    wanted = [f"phone-{number:03}" for number in range(1, count + 1)]
    named = tenant.devices.filter(names__canonical__in=wanted)
    named = named.annotate(known_as=F("names__canonical"))
    phones: dict[str, Device] = {one.known_as: one for one in named}
    sites: Sequence[Site | None] = list(tenant.sites.all()) or [None]
    missing = [
        Device(
            tenant=tenant,
            device_id=device_id,
            name=_name(index),
            kind=Device.Kind.PHONE,
            site=sites[index % len(sites)],
            expected_interval_s=interval_s,
            grace_s=GRACE_S,
        )
        for index, device_id in enumerate(wanted)
        if device_id not in phones
    ]
    phones |= {one.device_id: one for one in Device.objects.bulk_create(missing, batch_size=1000)}
    return [phones[device_id] for device_id in wanted]


def demo_read(path: Path) -> Demo | None:
    """The demo described in this file; None if the file does not exist or cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Demo)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def demo_write(path: Path, demo: Demo) -> None:
    """Writes the file atomically; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(demo), indent=2) + b"\n")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _people(tenant: Tenant, password: str) -> str:
    """Makes sure that the operator and a member of the tenant exist; returns the password they
    share, which is the given one if it works."""
    people = {user.username: user for user in User.objects.filter(username__in=(ADMIN, MEMBER))}
    if people.keys() == {ADMIN, MEMBER} and people[ADMIN].check_password(password):
        return password
    password = secrets.token_urlsafe(12)
    admin = people.get(ADMIN) or User(username=ADMIN, is_staff=True, is_superuser=True)
    member = people.get(MEMBER) or User(username=MEMBER, is_staff=True)
    admin.set_password(password)
    member.password = admin.password
    admin.save()
    member.save()
    Membership.objects.get_or_create(
        tenant=tenant, user=member, defaults={"role": Membership.Role.MANAGER}
    )
    return password


def _name(index: int) -> str:
    round_, person = divmod(index, len(PEOPLE))
    return f"{PEOPLE[person]}'s phone" + (f" {round_ + 1}" if round_ else "")


def _gateway_key(tenant: Tenant, known: str | None) -> str | None:
    speaker = speaker_for_key(known) if known else None
    if known and speaker and speaker.id is None and speaker.tenant_id == tenant.pk:
        return known
    if _revoked(GATEWAY_LABEL).filter(tenant=tenant, device=None).exists():
        return None
    return gateway_credential_issue(tenant=tenant, label=GATEWAY_LABEL).key


def _with_keys(phones: Sequence[Device], known: Mapping[str, str]) -> list[DemoDevice]:
    in_force = speakers_for_keys([known.get(one.device_id, "") for one in phones])
    keys = {device.id: key for key, device in in_force.items()}
    mute = _never_revoked([one for one in phones if one.id not in keys])
    keys |= {
        issued.credential.device_id: issued.key
        for issued in credentials_issue(devices=mute, label=LABEL)
    }
    return [DemoDevice(one.device_id, keys[one.id]) for one in phones if one.id in keys]


def _never_revoked(phones: Sequence[Device]) -> list[Device]:
    """The phones whose demo keys have not been revoked."""
    if not phones:
        return []
    ended = _revoked(LABEL).filter(device__in=phones)
    revoked = set(ended.values_list("device_id", flat=True))
    return [one for one in phones if one.id not in revoked]


def _revoked(label: str) -> QuerySet[Credential]:
    """The revoked keys with this label."""
    return Credential.objects.filter(label=label).exclude(revoked_at=None)
