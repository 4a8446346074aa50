from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from django.conf import LazySettings
from django.test import Client

from devices.fleet.keys import credential_issue, credentials_revoke
from devices.models import Device
from ingest.stream import shards
from ingest.stream.entries import decode
from telemetry.vitals import NAMES
from tests.conftest import Fleet

pytestmark = pytest.mark.usefixtures("valkey")
PATH = "/api/v1/heartbeats"


def post(client: Client, key: str | None, body: str | bytes = "{}", **extra: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    extra.setdefault("content_type", "application/json")
    return client.post(PATH, body, headers=headers, **extra)


def waiting() -> list[Any]:
    entries: Any = shards.connection().xrange(shards.stream_key(0))
    return [decode(fields[shards.FIELD]) for _, fields in entries]


def assert_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = msgspec.json.decode(answer.content)
    assert body["status"] == status
    assert body["title"] and body["detail"]
    return body


def test_heartbeat_is_in_the_stream_when_it_is_accepted(client: Client, acme: Fleet) -> None:
    answer = post(client, acme.key, '{"battery_pct": 12, "cpu_pct": 3}', REMOTE_ADDR="10.0.0.7")

    assert answer.status_code == 202
    body = answer.json()
    assert body["next_heartbeat_s"] == acme.tenant.default_interval_s
    assert abs(datetime.now(UTC) - datetime.fromisoformat(body["server_time"])).total_seconds() < 5
    (entry,) = waiting()
    assert (entry.device_id, entry.tenant_id) == (acme.device.pk, acme.tenant.pk)
    named = dict(zip(NAMES, entry.named, strict=True))
    assert (named["battery_pct"], entry.vitals) == (12, {"cpu_pct": 3})
    assert entry.address == "10.0.0.7"


def test_interval_of_the_device_is_told_when_it_has_its_own(client: Client, acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(expected_interval_s=7)

    assert post(client, acme.key).json()["next_heartbeat_s"] == 7


@pytest.mark.parametrize(
    "key",
    [None, "", "nonsense", "rc_short_x", "rc_aaaaaaaaaa_wrong", "rc_ääääääääää_x", "x" * 9000],
)
def test_it_answers_401_when_the_key_is_missing_or_unknown(
    client: Client, acme: Fleet, key: str | None
) -> None:
    answer = post(client, key)

    assert_problem(answer, 401)
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert waiting() == []


def test_it_answers_401_when_only_the_secret_is_wrong(client: Client, acme: Fleet) -> None:
    assert_problem(post(client, acme.key[:-1] + "!"), 401)


def test_a_revoked_key_is_refused_and_the_others_stay(
    client: Client, acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_KEY_CACHE_S = 0
    issued = credential_issue(device=acme.device)
    assert post(client, issued.key).status_code == 202

    credentials_revoke(ids=[issued.credential.pk], ts=datetime.now(UTC))

    assert_problem(post(client, issued.key), 401)
    assert post(client, acme.key).status_code == 202


def test_keys_of_an_inactive_tenant_are_refused(
    client: Client, acme: Fleet, rival: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_KEY_CACHE_S = 0
    acme.tenant.is_active = False
    acme.tenant.save()

    problem = assert_problem(post(client, acme.key), 401)
    assert "its tenant is inactive" in problem["detail"]
    assert post(client, rival.key).status_code == 202


def test_it_answers_403_when_the_message_names_another_device(
    client: Client, acme: Fleet, rival: Fleet
) -> None:
    body = assert_problem(post(client, acme.key, '{"device_id": "rival-phone"}'), 403)

    assert "acme-phone" in body["detail"]
    assert waiting() == []


def test_the_field_is_named_when_a_value_is_wrong(client: Client, acme: Fleet) -> None:
    body = assert_problem(post(client, acme.key, '{"battery_pct": 101}'), 400)

    assert body["errors"][0]["field"] == "$.battery_pct"
    assert waiting() == []


def test_it_answers_413_above_64_kib_and_takes_what_is_below(client: Client, acme: Fleet) -> None:
    fits = '{"battery_pct": 1}' + " " * (64 * 1024 - 18)

    assert post(client, acme.key, fits).status_code == 202
    assert_problem(post(client, acme.key, fits + " "), 413)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_it_answers_415_for_another_content_type(
    client: Client, acme: Fleet, content_type: str
) -> None:
    body = assert_problem(post(client, acme.key, content_type=content_type), 415)

    assert "application/json" in body["detail"]


def test_it_answers_405_to_get(client: Client, acme: Fleet) -> None:
    answer = client.get(PATH, headers={"Authorization": f"Bearer {acme.key}"})

    assert_problem(answer, 405)


def test_unknown_paths_of_the_api_are_problems(client: Client, db: None) -> None:
    assert_problem(client.get("/api/v1/nothing"), 404)


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    client: Client, acme: Fleet, settings: LazySettings
) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.1"]
    forwarded = {"HTTP_X_FORWARDED_FOR": "1.1.1.1, 203.0.113.9"}

    post(client, acme.key, REMOTE_ADDR="10.0.0.1", **forwarded)
    post(client, acme.key, REMOTE_ADDR="10.0.0.2", **forwarded)

    assert [entry.address for entry in waiting()] == ["203.0.113.9", "10.0.0.2"]
