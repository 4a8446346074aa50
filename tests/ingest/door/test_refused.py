"""Every refusal is counted: over HTTP, MQTT and `/api/push`, in each form a body may have."""

import gzip
import json
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from devices.fleet.keys import gateway_credential_issue
from devices.models import Credential, Device, Registration
from ingest.door.samples import SAMPLE_BYTES
from ingest.models import Refusal
from ingest.stream.shards import waiting_counts
from telemetry.models import LastRefusal
from tests.conftest import Fleet
from tests.ingest.door.limiting import limit_device, limit_tenant, many
from tests.ingest.door.refusing import await_early_in_a_minute, found, rows
from tests.ingest.door.test_views_heartbeats import assert_problem
from tests.ingest.door.test_views_heartbeats import post as post_heartbeat
from tests.ingest.door.test_views_readings import post, reading
from tests.ingest.mqtt.test_batch import accept, heartbeat, telemetry
from tests.ingest.probes.test_push import push, push_raw
from tests.ingest.way import now

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory", "keys_not_remembered")
NDJSON = "application/x-ndjson"
PHONE = "acme-phone"
# Heartbeats are refused if they are this old.
OLD = '{"time": "2016-01-01T00:00:00Z"}'


@pytest.fixture(autouse=True)
def early_in_a_minute(valkey: None) -> None:
    await_early_in_a_minute()


def prefix_of(key: str) -> str:
    return key.split("_")[1]


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (OLD, "time", '`time` "2016-01-01T00:00:00Z": 2016-01-01T00:00:00+00:00 is'),
        ('{"device_id": [1]}', "device_id", "`device_id`: expected text"),
    ],
)
def test_an_invalid_heartbeat_is_counted_with_what_it_said(
    client: Client, acme: Fleet, body: str, field: str, reason: str
) -> None:
    assert_problem(post_heartbeat(client, acme.key, body), 400)

    (row,) = rows()
    assert (row.tenant, row.device) == (acme.tenant, acme.device)
    assert (row.code, row.field, row.count) == ("invalid", field, 1)
    assert row.reason.startswith(reason)
    assert row.sample == body
    assert row.minute <= row.first_at == row.last_at


@pytest.mark.parametrize(
    ("body", "reason"), [("{", "this is not JSON"), (" ", "the body is empty")]
)
def test_a_heartbeat_that_cannot_be_read_is_counted_without_its_text(
    client: Client, acme: Fleet, body: str, reason: str
) -> None:
    assert_problem(post_heartbeat(client, acme.key, body), 400)

    (row,) = rows()
    assert (row.field, row.sample) == ("", "1 byte, not shown: not JSON")
    assert row.reason.startswith(reason)


def test_no_column_of_a_refusal_shows_a_key(client: Client, acme: Fleet) -> None:
    secret = acme.key.rpartition("_")[2]
    post(client, acme.key, {acme.key: 1, "metrics": {"a": 1}})
    post(client, acme.key, {"metrics": {f"x{secret}": [1]}})
    post_heartbeat(client, acme.key, f'{{"{acme.key}": [1], "battery_pct": "{secret}"}}')
    post_heartbeat(client, acme.key, f'{{"psk": {secret}, "rssi_dbm": {secret}, "uptime_s": -5}}')
    post_heartbeat(client, acme.key, f'{{"time": "{acme.key}"}}')
    post_heartbeat(client, acme.key, f'{{"token": "{secret}')

    everything = [text for row in rows() for text in (row.field, row.reason, row.sample)]
    for last in LastRefusal.objects.all():
        everything += (last.reason, last.sample)
    assert len(everything) >= 8
    assert secret not in f"{everything}"
    assert f"rc_{prefix_of(acme.key)}_…" in f"{everything}" and "`uptime_s` -5: " in f"{everything}"


def test_bodies_that_cannot_be_read_are_counted(client: Client, acme: Fleet) -> None:
    assert_problem(post_heartbeat(client, acme.key, "x" * 70_000), 413)
    assert_problem(post_heartbeat(client, acme.key, "{}", content_type="text/xml"), 415)
    assert_problem(_gzipped(client, acme.key, b"not gzip"), 400)
    assert_problem(_gzipped(client, acme.key, b"x", encoding="br"), 415)

    assert found() == [
        (PHONE, "invalid", "", 1),
        (PHONE, "too_large", "", 1),
        (PHONE, "unsupported", "", 2),
    ]


def _gzipped(client: Client, key: str, body: bytes, encoding: str = "gzip") -> Any:
    return client.post(
        "/api/v1/readings",
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}", "Content-Encoding": encoding},
    )


def test_messages_of_a_batch_are_counted_by_field(client: Client, acme: Fleet) -> None:
    batch = [
        reading(),
        {"metrics": {}},
        {"metrics": {"a": [1]}},
        {"metrics": {"a": [1]}, "seq": 2},
        {"metrics": {"a": 1}, "temperature": 3},
        reading("other"),
    ]

    answer = post(client, acme.key, batch)

    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert found() == [
        (PHONE, "forbidden", "device_id", 1),
        (PHONE, "invalid", "metrics", 1),
        (PHONE, "invalid", "metrics.a", 2),
        (PHONE, "invalid", "temperature", 1),
    ]
    samples = {row.field: row.sample for row in rows()}
    assert json.loads(samples["metrics.a"]) == batch[3]
    assert json.loads(samples["device_id"]) == batch[5]


def test_lines_and_compressed_messages_are_counted(client: Client, acme: Fleet) -> None:
    good, bad = json.dumps(reading()), '{"metrics": {"a": nul}}'
    lines = f"{good}\n{bad}\n\n{good}\n"
    assert post(client, acme.key, lines, content_type=NDJSON).status_code == 202
    packed = gzip.compress(f"[{good}, {{}}]".encode())
    assert _gzipped(client, acme.key, packed).status_code == 202

    assert found() == [(PHONE, "invalid", "metrics", 1), (PHONE, "invalid", "metrics.a", 1)]
    assert [row.sample for row in rows()] == ["{}", '{"metrics": {"a": "…(3)"}}']


def test_a_gateways_refusals_are_the_named_devices(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    """Whatever name is unknown, or another tenant's, is of no device; none is registered."""
    acme.tenant.registration = Registration.ON
    acme.tenant.save()
    bad: dict[str, Any] = {"metrics": {}}

    post_heartbeat(client, gateway, json.dumps({"device_id": PHONE} | json.loads(OLD)))
    post(client, gateway, [bad | {"device_id": name} for name in (PHONE, "who", "rival-phone")])
    post(client, gateway, bad | {"device_id": PHONE})

    assert found() == [
        (PHONE, "invalid", "metrics", 2),
        (PHONE, "invalid", "time", 1),
        (None, "invalid", "metrics", 2),
    ]
    assert not Device.objects.filter(device_id="who").exists()
    assert f"(gateway key rc_{prefix_of(gateway)}_…)" in rows()[-1].reason


def test_a_gateways_body_that_cannot_be_read_is_its_keys(
    client: Client, acme: Fleet, gateway: str
) -> None:
    post(client, gateway, f'[{{"device_id": "{PHONE}", "metrics": ')

    ((device, code, field, count),) = found()
    assert (device, code, field, count) == (None, "invalid", "", 1)
    assert f"(gateway key rc_{prefix_of(gateway)}_…)" in rows()[0].reason


def test_a_gateways_unknown_device_is_counted(client: Client, acme: Fleet, gateway: str) -> None:
    for _ in range(2):
        assert_problem(post(client, gateway, reading("who")), 400)

    assert found() == [(None, "unknown_device", "device_id", 2)]
    assert '"who"' in rows()[0].sample


def test_refused_probes_are_counted(client: Client, acme: Fleet, gateway: str) -> None:
    assert_problem(push(client, acme.key, latency=-1), 400)
    assert_problem(push_raw(client, gateway, json.dumps({"node_id": PHONE})), 400)
    assert_problem(push(client, acme.key, node_id="other"), 403)
    assert_problem(push(client, gateway, node_id="who"), 400)

    assert found() == [
        (PHONE, "forbidden", "node_id", 1),
        (PHONE, "invalid", "", 1),
        (PHONE, "invalid", "latency", 1),
        (None, "unknown_device", "node_id", 1),
    ]


def test_messages_refused_over_mqtt_are_the_publishing_devices(acme: Fleet, rival: Fleet) -> None:
    accept(
        heartbeat(PHONE, json.loads(OLD)),
        heartbeat(PHONE, {"device_id": "other"}),
        heartbeat("who", json.loads(OLD)),
        heartbeat("rival-phone", b"\xff\xfe", tenant="rival"),
        heartbeat("phone", b"{", tenant="nobody"),
        telemetry(PHONE, [{"metrics": {}}, {"metrics": {"a": 1}}, {"metrics": {}, "seq": 2}]),
        telemetry(PHONE, {"device_id": "other", "metrics": {"a": 1}}),
        telemetry(PHONE, b"x" * 300_000),
        telemetry("who", {"metrics": {"a": 1}}),
    )

    assert found() == [
        (PHONE, "forbidden", "device_id", 2),
        (PHONE, "invalid", "metrics", 2),
        (PHONE, "invalid", "time", 1),
        (PHONE, "too_large", "", 1),
        (None, "invalid", "time", 1),
        (None, "unknown_device", "", 1),
        ("rival-phone", "invalid", "", 1),
    ]
    samples = {(row.code, row.field): row.sample for row in rows() if row.device == acme.device}
    assert json.loads(samples["invalid", "metrics"]) == {"metrics": {}, "seq": 2}
    assert len(samples["too_large", ""].encode()) <= SAMPLE_BYTES


def test_a_devices_limit_counts_for_the_device(client: Client, acme: Fleet, gateway: str) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="other")
    limit_device(acme, 0.001, 1)
    post(client, acme.key, many(1))

    assert_problem(post_heartbeat(client, acme.key), 429)
    assert post(client, gateway, [*many(2, PHONE), *many(1, "other")]).status_code == 202
    accept(heartbeat(PHONE, {}), telemetry(PHONE, {"metrics": {"a": 1}}))

    assert sum(row.count for row in rows()) == 5
    assert {(row.device, row.code) for row in rows()} == {(acme.device, "device_rate")}
    words = "the device's limit is reached: 0.001 messages a second, 1 at once"
    assert {row.reason.removeprefix('`device_id` "acme-phone": ') for row in rows()} == {words}


def test_a_tenants_limit_counts_for_each_of_its_devices(
    client: Client, acme: Fleet, gateway: str
) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="other")
    limit_tenant(acme, 0.001, 1)
    post(client, acme.key, many(1))

    assert_problem(post(client, gateway, [*many(2, PHONE), *many(3, "other")]), 429)
    accept(heartbeat(PHONE, {}), telemetry("other", {"metrics": {"a": 1}}))

    assert found() == [(PHONE, "tenant_rate", "", 3), ("other", "tenant_rate", "", 4)]
    words = "the tenant's limit is reached: 0.001 messages a second, 1 at once"
    assert {row.reason for row in rows()} == {words}


def test_a_full_stream_is_nobodys_fault(
    client: Client, acme: Fleet, rival: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARD_MAX_BYTES = 0
    for body in (many(3), many(2)):
        assert_problem(post(client, acme.key, body), 503)
    assert_problem(post_heartbeat(client, rival.key), 503)

    assert found() == [(None, "backlog", "", 5), (None, "backlog", "", 1)]
    reason = "messages came faster than they were stored: 0 MiB wait in a shard"
    assert {row.reason for row in rows()} == {reason}


def test_a_revoked_key_is_its_devices_if_the_whole_secret_matches(
    client: Client, acme: Fleet, gateway: str
) -> None:
    revoked_at = now()
    Credential.objects.filter(tenant=acme.tenant).update(revoked_at=revoked_at)
    for key in (acme.key, acme.key, gateway, f"{acme.key[:-1]}!"):
        assert_problem(post_heartbeat(client, key), 401)

    assert found() == [(PHONE, "revoked_key", "", 2), (None, "revoked_key", "", 1)]
    words = f"a key revoked on {revoked_at:%Y-%m-%d} (rc_{prefix_of(acme.key)}_…)"
    assert (rows()[0].reason, rows()[0].sample) == (words, "sent from 127.0.0.1")


def test_a_key_that_will_be_revoked_still_works(client: Client, acme: Fleet) -> None:
    later = now().replace(year=now().year + 1)
    Credential.objects.filter(tenant=acme.tenant).update(revoked_at=later)

    assert post_heartbeat(client, acme.key).status_code == 202
    assert found() == []


def test_values_left_out_of_an_accepted_heartbeat_are_counted(
    client: Client, acme: Fleet, gateway: str
) -> None:
    body = '{"battery_pct": 255, "cpu_pct": 3}'
    assert post_heartbeat(client, acme.key, body).status_code == 202
    named = {"device_id": PHONE, "battery_pct": 255}
    assert post_heartbeat(client, gateway, json.dumps(named)).status_code == 202
    assert accept(heartbeat(PHONE, json.loads(body))).accepted == 1

    assert found() == [(PHONE, "ignored", "battery_pct", 3)]
    assert rows()[0].reason.startswith("`battery_pct` 255: ")
    assert json.loads(rows()[0].sample)["battery_pct"] == 255


def test_refusals_hold_up_nothing_that_is_good(client: Client, acme: Fleet) -> None:
    post_heartbeat(client, acme.key, "{")
    assert post_heartbeat(client, acme.key).status_code == 202

    assert waiting_counts(0)["messages"] == 1
    assert Refusal.objects.count() == 0  # nothing was written on the way


def test_a_device_that_was_just_added_is_found(client: Client, acme: Fleet) -> None:
    key = gateway_credential_issue(tenant=acme.tenant).key
    Device.objects.create(tenant=acme.tenant, device_id="fresh")

    post_heartbeat(client, key, '{"device_id": "fresh", "time": "2016-01-01T00:00:00Z"}')

    assert found() == [("fresh", "invalid", "time", 1)]
