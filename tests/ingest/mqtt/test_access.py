import hashlib
from base64 import b64decode
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from devices.fleet.keys import (
    credential_issue,
    credentials_issue,
    credentials_revoke,
    gateway_credential_issue,
)
from devices.models import Credential, Device
from ingest.mqtt.access import AccessFiles, access_files, bridge_hash
from tests.conftest import Fleet


def files() -> AccessFiles:
    return access_files(bridge_user="rollcall", bridge_hash=bridge_hash("bridge password"))


def passwords(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines())


def fits(encoded: str, password: str) -> bool:
    """What mosquitto does with a line of its password file."""
    _, kind, iterations, salt, digest = encoded.split("$")
    given = hashlib.pbkdf2_hmac("sha512", password.encode(), b64decode(salt), int(iterations))
    return kind == "7" and given == b64decode(digest)


def test_each_device_has_its_key_as_its_password(acme: Fleet, rival: Fleet) -> None:
    known = passwords(files().passwords)

    assert sorted(known) == ["acme/device/acme-phone", "rival/device/rival-phone", "rollcall"]
    assert fits(known["acme/device/acme-phone"], acme.key)
    assert not fits(known["acme/device/acme-phone"], rival.key)
    assert fits(known["rollcall"], "bridge password")


def test_the_newest_key_in_force_counts(acme: Fleet) -> None:
    newer = credential_issue(device=acme.device)
    assert fits(passwords(files().passwords)["acme/device/acme-phone"], newer.key)

    credentials_revoke(ids=[newer.credential.pk], ts=timezone.now())
    assert fits(passwords(files().passwords)["acme/device/acme-phone"], acme.key)

    Credential.objects.update(revoked_at=timezone.now())
    assert list(passwords(files().passwords)) == ["rollcall"]


def test_inactive_tenants_and_keys_of_before_are_left_out(acme: Fleet, rival: Fleet) -> None:
    acme.tenant.is_active = False
    acme.tenant.save()
    Credential.objects.filter(tenant=rival.tenant).update(mqtt_password_hash="")

    assert list(passwords(files().passwords)) == ["rollcall"]


def test_one_pattern_holds_for_all_devices_but_those_with_a_colon(acme: Fleet) -> None:
    mac = Device.objects.create(tenant=acme.tenant, device_id="00:1b:44")
    key = credential_issue(device=mac).key
    gateway = gateway_credential_issue(tenant=acme.tenant)

    made = files()

    assert fits(passwords(made.passwords)["acme/device/00%3A1b%3A44"], key)
    user = f"acme/gateway/{gateway.credential.prefix}"
    assert fits(passwords(made.passwords)[user], gateway.key)
    assert made.acl.split("\n\n") == [
        "# Written by `manage.py mqtt_acl`: changes here are lost.\n"
        "user rollcall\n"
        "topic read tenant/+/device/+/telemetry\n"
        "topic read tenant/+/device/+/heartbeat",
        "user acme/device/00%3A1b%3A44\ntopic write tenant/acme/device/00:1b:44/#",
        f"user {user}\ntopic write tenant/acme/device/#",
        "pattern write tenant/%u/#\n",
    ]


def test_one_query_however_many_devices(
    acme: Fleet, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    devices = [Device(tenant=acme.tenant, device_id=f"d{n}") for n in range(500)]
    credentials_issue(devices=Device.objects.bulk_create(devices))

    with django_assert_num_queries(1):
        assert files().users == 502


def test_the_files_are_for_their_owner_only(
    acme: Fleet, tmp_path: Path, settings: LazySettings
) -> None:
    settings.MQTT_URL = "mqtt://rollcall:p%40ss@127.0.0.1:1883"

    call_command("mqtt_acl", write=tmp_path)

    for name in ("passwords", "acl"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / name).stat().st_uid == tmp_path.stat().st_uid
    known = passwords((tmp_path / "passwords").read_text())
    assert fits(known["rollcall"], "p@ss")
    assert len(list(tmp_path.iterdir())) == 2


def test_it_wants_a_user_for_the_bridge(db: None, settings: LazySettings) -> None:
    settings.MQTT_URL = "mqtt://127.0.0.1"
    with pytest.raises(CommandError, match="has no user"):
        call_command("mqtt_acl")
