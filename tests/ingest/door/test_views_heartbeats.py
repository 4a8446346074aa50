import gzip
from datetime import UTC, datetime, timedelta
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


def test_a_value_that_cannot_be_used_does_not_cost_the_heartbeat(
    client: Client, acme: Fleet
) -> None:
    answer = post(client, acme.key, '{"battery_pct": 101, "rssi_dbm": -67, "version": 14}')

    assert answer.status_code == 202
    assert answer.json()["ignored"] == [
        {
            "field": "$.battery_pct",
            "reason": "101 is out of range; expected a number from 0 to 100",
        }
    ]
    (entry,) = waiting()
    assert entry.named == (None, -67.0, None, "14")


def test_a_wrong_clock_is_told_and_the_heartbeat_is_heard_now(client: Client, acme: Fleet) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=2)).isoformat()

    for time in ("2000-01-01T00:00:00Z", ahead):
        answer = post(client, acme.key, f'{{"time": "{time}"}}')

        assert answer.status_code == 202
        (ignored,) = answer.json()["ignored"]
        assert ignored["field"] == "$.time"
        assert ignored["reason"].startswith(time.replace("Z", "+00:00"))
    assert [entry.time for entry in waiting()] == [None, None]


def test_a_time_by_another_name_is_the_heartbeats_time(client: Client, acme: Fleet) -> None:
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)

    post(client, acme.key, f'{{"timestamp": "{before.isoformat()}", "battery_pct": 9}}')
    post(client, acme.key, f'{{"ts": {before.timestamp() * 1000:.0f}, "battery_pct": 9}}')

    assert [(entry.time, entry.vitals) for entry in waiting()] == [(before, None)] * 2


def test_another_name_of_a_named_vital_is_answered_with_a_hint(client: Client, acme: Fleet) -> None:
    answer = post(client, acme.key, '{"battery": 71}').json()

    assert answer["hints"] == [{"field": "$.battery", "reason": "did you mean battery_pct?"}]
    assert "ignored" not in answer
    assert waiting()[0].vitals == {"battery": 71}


def test_a_clean_heartbeat_is_answered_with_nothing_more(client: Client, acme: Fleet) -> None:
    assert set(post(client, acme.key).json()) == {"server_time", "next_heartbeat_s"}


def test_a_gateways_heartbeat_may_name_its_device_by_a_number(
    client: Client, acme: Fleet, gateway: str
) -> None:
    device = Device.objects.create(tenant=acme.tenant, device_id="867322030123456")

    answer = post(client, gateway, '{"device_id": 867322030123456, "rssi_dbm": 99}')

    assert [one["field"] for one in answer.json()["ignored"]] == ["$.rssi_dbm"]
    assert [entry.device_id for entry in waiting()] == [device.pk]


def test_the_field_is_named_when_a_message_is_refused(client: Client, acme: Fleet) -> None:
    body = assert_problem(post(client, acme.key, '{"device_id": []}'), 400)

    assert body["errors"][0]["field"] == "$.device_id"
    assert waiting() == []


def test_a_gzip_heartbeat_is_taken_and_bounded(client: Client, acme: Fleet) -> None:
    def send(body: bytes) -> Any:
        return post(client, acme.key, gzip.compress(body), HTTP_CONTENT_ENCODING="GZIP")

    assert send(b'\xef\xbb\xbf{"battery_pct": 9, "a": nan}\0').status_code == 202
    assert_problem(send(b" " * (64 * 1024 + 1)), 413)
    assert waiting()[0].named[0] == 9


def test_it_answers_413_above_64_kib_and_takes_what_is_below(client: Client, acme: Fleet) -> None:
    fits = '{"battery_pct": 1}' + " " * (64 * 1024 - 18)

    assert post(client, acme.key, fits).status_code == 202
    assert_problem(post(client, acme.key, fits + " "), 413)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "APPLICATION/JSON;CHARSET=UTF-8",
        "text/json",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "",
    ],
)
@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
def test_json_is_taken_whatever_a_small_client_calls_it(
    client: Client, acme: Fleet, content_type: str, path: str
) -> None:
    answer = client.post(
        path,
        b'\xef\xbb\xbf{"battery_pct": 9}\r\n\0',
        content_type=content_type,
        headers={"Authorization": f"BEARER {acme.key}"},
    )

    assert answer.status_code == 202
    assert waiting()[0].named[0] == 9


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", "battery 9"),
        ("application/x-www-form-urlencoded", "battery_pct=9"),
        ("", ""),
        ("text/html", "{}"),
        ("application/x-ndjson", "{}"),
        ("multipart/form-data; boundary=x", "{}"),
    ],
)
def test_it_answers_415_for_another_content_type(
    client: Client, acme: Fleet, content_type: str, body: str
) -> None:
    problem = assert_problem(post(client, acme.key, body, content_type=content_type), 415)

    assert "application/json" in problem["detail"]


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
