"""Who may publish what, as files for mosquitto.

A device's user name is the middle of its topics, `<tenant>/device/<device_id>`, so one pattern
covers all devices. Mosquitto searches its list of users from the start for each user that it reads,
so lines for 100,000 users would take minutes. Only these have lines of their own: gateways, devices
with aliases, and devices with a colon in their name, because a colon ends the user name in the
password file.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from django.utils import timezone

from devices.fleet.keys import in_force, mqtt_password_hash
from devices.models import Credential
from ingest.mqtt.batch import HEARTBEAT, TELEMETRY

HEADER = "# Written by `manage.py mqtt_acl`: changes here are lost.\n"
# Mosquitto's default. The bridge's password may be chosen by a person, so one iteration is too few.
BRIDGE_ITERATIONS = 101


class AccessFiles(NamedTuple):
    """The contents of the two files, and the number of users in them."""

    passwords: str
    acl: str
    users: int


def mqtt_username(*, tenant: str, device_id: str) -> str:
    """The name under which a device signs in at the broker; its key is the password."""
    return f"{tenant}/device/{device_id}".replace(":", "%3A")


def bridge_hash(password: str) -> str:
    """The hash of the bridge's password, for access_files; salted, so it differs each time."""
    return mqtt_password_hash(password, iterations=BRIDGE_ITERATIONS)


def access_files(*, bridge_user: str, bridge_hash: str) -> AccessFiles:
    """Files that let each device publish below its own topics, gateways for all devices of their
    tenant, and the bridge read.

    A device signs in under any of its names: its ID and its aliases. Its newest key in force
    counts. Inactive tenants are left out.
    """
    passwords = {bridge_user: bridge_hash}
    acl = [_user(bridge_user, *(f"read {topic}" for topic in (TELEMETRY, HEARTBEAT)))]
    gateways: list[str] = []
    special: dict[tuple[str, int], set[str]] = defaultdict(set)
    for key in _keys_in_force():
        if key.device is None:
            username = f"{key.tenant}/gateway/{key.prefix}"
            gateways.append(_user(username, f"write tenant/{key.tenant}/device/#"))
            passwords[username] = key.password_hash
            continue
        names = {name for name in (key.device_id, key.alias) if name}
        for name in names:
            passwords[mqtt_username(tenant=key.tenant, device_id=name)] = key.password_hash
        if key.alias or any(":" in name for name in names):
            special[key.tenant, key.device] |= names
    acl += [text for (tenant, _), names in special.items() for text in _users(tenant, names)]
    acl += [*gateways, "pattern write tenant/%u/#\n"]
    lines = "".join(f"{name}:{password_hash}\n" for name, password_hash in passwords.items())
    return AccessFiles(lines, HEADER + "\n".join(acl), len(passwords))


class _Key(NamedTuple):
    """A key and a name of its device; the device and its names are None for a gateway's."""

    tenant: str
    device: int | None
    device_id: str | None
    alias: str | None
    prefix: str
    password_hash: str


def _keys_in_force() -> Iterator[_Key]:
    """The keys, older ones first; those of a device with aliases once with each alias."""
    keys = Credential.objects.filter(in_force(timezone.now()), tenant__is_active=True)
    rows = keys.exclude(mqtt_password_hash="").order_by("id", "device__aliases__alias")
    values = rows.values_list(
        "tenant__slug",
        "device",
        "device__device_id",
        "device__aliases__alias",
        "prefix",
        "mqtt_password_hash",
    )
    return map(_Key._make, values.iterator(chunk_size=10_000))


def _users(tenant: str, names: set[str]) -> Iterator[str]:
    """Lines that let a device publish under each of its names, whichever it signs in with. The
    pattern covers the name that it signs in with, unless that has a colon."""
    for name in sorted(names):
        topics = [other for other in sorted(names) if other != name or ":" in name]
        rights = (f"write tenant/{tenant}/device/{topic}/#" for topic in topics)
        yield _user(mqtt_username(tenant=tenant, device_id=name), *rights)


def _user(name: str, *rights: str) -> str:
    return f"user {name}\n" + "".join(f"topic {right}\n" for right in rights)
