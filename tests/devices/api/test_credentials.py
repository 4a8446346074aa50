"""Keys over the API."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from devices.api import credentials
from devices.api.base.lookup import device_in_path
from devices.fleet.keys import gateway_credential_issue, speaker_for_key
from devices.models import Credential, Device
from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send
from tests.two_at_once import elsewhere

KEYS = "devices/acme-phone/credentials"
GATEWAY = "tenants/acme/credentials"
HASHES = ("secret", "hash", "password")


def prefix_of(key: str) -> str:
    return key.split("_")[1]


@pytest.fixture(params=[KEYS, GATEWAY])
def keys(request: pytest.FixtureRequest, acme: Fleet, rival: Fleet) -> str:
    """The addresses of a device's keys and of a gateway's keys; each has one key."""
    if request.param == GATEWAY:
        gateway_credential_issue(tenant=acme.tenant)
    return str(request.param)


def test_a_key_is_issued_and_told_once(acme: Fleet, keys: str) -> None:
    client = member(acme, Role.MANAGER)
    answer = send(client, "post", keys, {"label": "spare"})
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    key = answer.json()["key"]
    assert (speaker := speaker_for_key(key))
    assert speaker.device_id == ("acme-phone" if keys == KEYS else None)
    rows = send(client, "get", keys).json()["results"]
    assert [row["label"] for row in rows] == ["", "spare"]
    assert rows[1] == send(client, "get", f"{keys}/{prefix_of(key)}").json()
    for row in rows:
        assert row["is_in_force"]
        assert not [name for name in row if name == "key" or any(h in name for h in HASHES)]


@pytest.mark.django_db(transaction=True)
def test_a_device_that_is_deleted_as_it_gets_a_key_is_a_conflict(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Device] = []

    def found(*given: Any) -> Device:
        device = device_in_path(*given)
        asked.append(device)
        if len(asked) == 2:  # the key is there, and is about to be read again
            elsewhere(Device.objects.filter(pk=device.pk).delete)
        return device

    monkeypatch.setattr(credentials, "device_in_path", found)

    assert_problem(send(member(acme, Role.MANAGER), "post", KEYS, {}), 409)
    assert not Credential.objects.exists()


def test_a_key_is_rotated_with_an_overlap(acme: Fleet, keys: str) -> None:
    client = member(acme, Role.MANAGER)
    old = send(client, "post", keys, {"label": "first"}).json()
    path = f"{keys}/{old['prefix']}"
    answer = send(client, "post", f"{path}/rotate", {"overlap_s": 3600})
    assert answer.status_code == 201
    assert answer.json()["label"] == "first"
    speakers = [speaker_for_key(key) for key in (old["key"], answer.json()["key"])]
    assert speakers[0] and speakers[1]
    assert replace(speakers[0], prefix="") == replace(speakers[1], prefix="")
    assert send(client, "get", path).json()["is_in_force"] is True
    # Rotating twice would leave keys that nobody remembers.
    assert_problem(send(client, "post", f"{path}/rotate", {}), 409)

    Credential.objects.filter(prefix=old["prefix"]).update(revoked_at=datetime.now(UTC))
    assert speaker_for_key(old["key"]) is None
    assert speaker_for_key(answer.json()["key"]) is not None
    assert send(client, "get", path).json()["is_in_force"] is False


def test_a_key_is_rotated_at_once_without_an_overlap(acme: Fleet) -> None:
    client = member(acme, Role.MANAGER)
    answer = send(client, "post", f"{KEYS}/{prefix_of(acme.key)}/rotate", {})
    assert Credential.objects.get(prefix=prefix_of(acme.key)).revoked_at is not None
    assert not send(client, "get", f"{KEYS}/{prefix_of(acme.key)}").json()["is_in_force"]
    assert speaker_for_key(answer.json()["key"]) is not None


def test_a_key_is_revoked_also_during_its_overlap(acme: Fleet, keys: str) -> None:
    client = member(acme, Role.MANAGER)
    old = send(client, "post", keys, {}).json()
    path = f"{keys}/{old['prefix']}"
    send(client, "post", f"{path}/rotate", {"overlap_s": 3600})
    answer = send(client, "post", f"{path}/revoke")
    assert answer.status_code == 200
    assert datetime.fromisoformat(answer.json()["revoked_at"]) <= datetime.now(UTC)
    # Revoking twice does no harm.
    assert send(client, "post", f"{path}/revoke").json() == answer.json()


def test_an_outsider_and_a_viewer_do_nothing_with_keys(
    acme: Fleet, rival: Fleet, keys: str, operator: User
) -> None:
    known = Credential.objects.filter(tenant=acme.tenant).latest("pk").prefix
    before = list(Credential.objects.order_by("pk").values())
    for client, reads, writes in (
        (member(rival, Role.OWNER), 404, 404),
        (member(acme, Role.VIEWER), 200, 403),
        (caller(None), 401, 401),
    ):
        for path in (keys, f"{keys}/{known}"):
            assert send(client, "get", path).status_code == reads
        for path in (keys, f"{keys}/{known}/rotate", f"{keys}/{known}/revoke"):
            assert_problem(send(client, "post", path, {}), writes)
    assert list(Credential.objects.order_by("pk").values()) == before
    assert send(caller(operator), "post", f"{keys}/{known}/revoke").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"overlap_s": -1}, "overlap_s"),
        ({"overlap_s": 10**9}, "overlap_s"),
        ({"overlap_s": "an hour"}, "overlap_s"),
        ({"label": "x" * 121}, "label"),
        ({"label": "x\x00"}, "label"),
        ({"revoked_at": None}, "revoked_at"),
    ],
)
def test_a_bad_field_of_a_rotation_is_named(
    acme: Fleet, body: dict[str, object], field: str
) -> None:
    path = f"{KEYS}/{prefix_of(acme.key)}/rotate"
    problem = assert_problem(send(member(acme, Role.MANAGER), "post", path, body), 400)
    assert {error["field"] for error in problem["errors"]} == {field}
    assert speaker_for_key(acme.key) is not None
