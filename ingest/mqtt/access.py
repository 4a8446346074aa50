"""Who may publish what, as files for mosquitto.

A device's user name is the middle of its topics, `<tenant>/device/<device_id>`, so one pattern
covers all devices. Mosquitto searches its list of users from the start for each user that it reads,
so lines for 100,000 users would take minutes. Only gateways have lines of their own, and devices
with a colon in their name, because a colon ends the user name in the password file.
"""

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
    """Files that let each device publish below its own topic, gateways for all devices of their
    tenant, and the bridge read.

    A device's newest key in force counts. Inactive tenants are left out.
    """
    passwords = {bridge_user: bridge_hash}
    acl = [_user(bridge_user, *(f"read {topic}" for topic in (TELEMETRY, HEARTBEAT)))]
    for tenant, device_id, prefix, password_hash in _keys_in_force():
        if device_id is None:
            username = f"{tenant}/gateway/{prefix}"
            acl.append(_user(username, f"write tenant/{tenant}/device/#"))
        else:
            username = mqtt_username(tenant=tenant, device_id=device_id)
            if ":" in device_id and username not in passwords:
                acl.append(_user(username, f"write tenant/{tenant}/device/{device_id}/#"))
        passwords[username] = password_hash
    acl.append("pattern write tenant/%u/#\n")
    lines = "".join(f"{name}:{password_hash}\n" for name, password_hash in passwords.items())
    return AccessFiles(lines, HEADER + "\n".join(acl), len(passwords))


def _keys_in_force() -> Iterator[tuple[str, str | None, str, str]]:
    """The (tenant, device_id, prefix, hash) of each key, older ones first."""
    keys = Credential.objects.filter(in_force(timezone.now()), tenant__is_active=True)
    return (
        keys.exclude(mqtt_password_hash="")
        .order_by("id")
        .values_list("tenant__slug", "device__device_id", "prefix", "mqtt_password_hash")
        .iterator(chunk_size=10_000)
    )


def _user(name: str, *rights: str) -> str:
    return f"user {name}\n" + "".join(f"topic {right}\n" for right in rights)
