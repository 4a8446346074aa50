import gzip
import json
from typing import Any

import pytest
from django.contrib.admin.utils import label_for_field
from django.test import Client
from django.utils.text import capfirst

from devices.fleet.keys import gateway_credential_issue
from devices.models import Device, Registration, Tenant
from ingest.messages.errors import InvalidMessage
from ingest.messages.times import TIME_NAMES
from ingest.probes.push import push_decode
from telemetry.models import Reading
from tests.conftest import Fleet
from tests.ingest.door.test_views_heartbeats import assert_problem, waiting
from tests.ingest.way import drain, now

pytestmark = pytest.mark.usefixtures("valkey")
PATH = "/api/push"
NODE = "e33e47e7-8cb4-42bc-b6b7-9b3b25727cfb"
MEASURED = {"latency": 21.5, "uptime": 99.9, "packet_loss": 0.5}


@pytest.fixture
def gateway(acme: Fleet) -> str:
    """The key of a gateway whose tenant lets devices register themselves."""
    acme.tenant.registration = Registration.ON
    acme.tenant.save()
    return gateway_credential_issue(tenant=acme.tenant).key


def push(client: Client, key: str, **fields: Any) -> Any:
    return push_raw(client, key, json.dumps(MEASURED | fields))


def push_raw(client: Client, key: str, body: str | bytes, **extra: Any) -> Any:
    extra.setdefault("content_type", "application/json")
    return client.post(PATH, body, headers={"Authorization": f"Bearer {key}"}, **extra)


def decoded(**fields: Any) -> dict[str, Any]:
    return push_decode(json.dumps(fields).encode(), received_at=now()).metrics


def test_a_measurement_becomes_a_reading_of_a_node_that_registers_itself(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    answer = push(
        client,
        gateway,
        node_id=NODE,
        region="Accra",
        timestamp="2025-11-25T10:00:00Z",
        metadata={"isp": "one", "hops": 7, "path": ["a", {"b": 1}], "none": None},
    )

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["node_id"]) == ("accepted", NODE)
    drain()
    node = Device.objects.get(device_id=NODE)
    assert (node.tenant, node.kind, node.name) == (acme.tenant, "probe", "probe-e33e47e7")
    reading = Reading.objects.get(device=node)
    assert (reading.msg_type, reading.site) == ("probe", "Accra")
    assert reading.time.isoformat() == "2025-11-25T10:00:00+00:00"
    assert reading.metrics == {
        "latency_ms": 21.5,
        "uptime_pct": 99.9,
        "packet_loss_pct": 0.5,
        "metadata.isp": "one",
        "metadata.hops": 7,
        "metadata.path": '["a",{"b":1}]',
    }


def test_a_node_is_called_what_it_calls_itself_until_people_name_it(
    client: Client, acme: Fleet, gateway: str
) -> None:
    push(client, gateway, node_id="lagos-1", node_name="Lagos roof")
    assert Device.objects.get(device_id="lagos-1").name == "Lagos roof"

    Device.objects.filter(device_id="lagos-1").update(name="Lagos")
    push(client, gateway, node_id="lagos-1", node_name="Lagos roof")

    assert Device.objects.get(device_id="lagos-1").name == "Lagos"
    assert len(waiting()) == 2


def test_a_device_with_a_key_of_its_own_need_not_name_itself(client: Client, acme: Fleet) -> None:
    answer = push(client, acme.key)

    assert answer.json()["node_id"] == "acme-phone"
    assert [one.device_id for one in waiting()[0].readings] == [acme.device.pk]


def test_it_answers_403_when_a_device_pushes_for_another(
    client: Client, acme: Fleet, rival: Fleet
) -> None:
    assert_problem(push(client, acme.key, node_id="rival-phone"), 403)
    assert waiting() == []


def test_a_gateway_cannot_push_for_a_node_of_another_tenant(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    push(client, gateway, node_id="rival-phone")

    (entry,) = waiting()
    assert entry.tenant_id == acme.tenant.pk
    assert entry.readings[0].device_id != rival.device.pk


def test_the_tenants_policy_decides_on_unknown_nodes(
    client: Client, acme: Fleet, gateway: str
) -> None:
    acme.tenant.registration = Registration.PENDING
    acme.tenant.save()
    assert push(client, gateway, node_id="one").status_code == 202
    assert waiting()[0].is_pending

    acme.tenant.registration = Registration.OFF
    acme.tenant.save()
    key = gateway_credential_issue(tenant=acme.tenant).key
    error = assert_problem(push(client, key, node_id="two"), 400)["errors"][0]
    setting = capfirst(str(label_for_field("registration", Tenant)))

    assert error["field"] == "$.node_id"
    assert f"set {setting} on the tenant's page" in error["reason"]
    assert not Device.objects.filter(device_id="two").exists()


def test_each_measurement_may_be_sent_under_either_name() -> None:
    assert decoded(latency_ms=1, uptime_pct=2, packet_loss_pct=3) == decoded(
        latency=1, uptime=2, packet_loss=3
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"latency": -1}, "$.latency"),
        ({"latency": "fast"}, "$.latency"),
        ({"latency": None, "uptime": None, "packet_loss": None}, "$"),
        ({"latency_ms": 3}, "$.latency"),
        ({"uptime": 101}, "$.uptime"),
        ({"packet_loss": -0.1}, "$.packet_loss"),
        ({"node_id": ""}, "$.node_id"),
        ({"node_id": "x" * 65}, "$.node_id"),
        ({"node_id": True}, "$.node_id"),
        ({"node_id": "a\u0000"}, "$.node_id"),
        ({"node_name": "x" * 121}, "$.node_name"),
        ({"region": "x" * 65}, "$.region"),
        ({"timestamp": "2025-11-25T10:00:00"}, "$.timestamp"),
        ({"timestamp": "yesterday"}, "$.timestamp"),
        ({"timestamp_ms": 12}, "$.timestamp_ms"),
        ({"time": 10**10}, "$.time"),
        ({"metadata": []}, "$.metadata"),
        ({"metadata": {"": 1}}, "$.metadata."),
        ({"metadata": {"x" * 56: 1}}, "$.metadata." + "x" * 56),
        ({"metadata": {"a": 2**64}}, "$.metadata.a"),
        ({"metadata": {"a": "x" * 1025}}, "$.metadata.a"),
        ({"metadata": {"a": ["x" * 1025]}}, "$.metadata.a"),
        ({"metadata": {"a": "\u0000"}}, "$.metadata.a"),
        ({"metadata": {f"m{n}": n for n in range(254)}}, "$.metadata"),
        ({"jitter": 1}, "$.jitter"),
    ],
)
def test_the_field_is_named_when_a_value_is_wrong(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        decoded(**(MEASURED | fields))

    assert raised.value.field == field
    assert raised.value.reason


@pytest.mark.parametrize(
    "body",
    [
        *(b" ", b"[]", b"null", b"{", b"\xff", b'{"latency": NaN}', b'{"latency": 1e400}'),
        b'{"latency": 1, "metadata": {"a": "\\ud800"}}',
        b'{"latency": 1, "metadata": ' + b"[" * 9999,
    ],
)
def test_what_is_no_measurement_is_refused(client: Client, acme: Fleet, body: bytes) -> None:
    assert_problem(push_raw(client, acme.key, body), 400)
    assert waiting() == []


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"latency": 1}',
        b'{"latency": 1}\r\n\0\0',
        b'{"latency": 2, "latency": 1}',
        b'{"latency": 1, "metadata": {"a": null}}',
    ],
)
@pytest.mark.parametrize("content_type", ["", "text/json", "application/x-www-form-urlencoded"])
def test_what_small_clients_send_around_the_json_does_not_matter(
    client: Client, acme: Fleet, body: bytes, content_type: str
) -> None:
    sent: dict[str, Any] = {"content_type": content_type}
    sent["headers"] = {"Authorization": f"Bearer {acme.key}"}
    packed = client.post(PATH, gzip.compress(body), HTTP_CONTENT_ENCODING="gzip", **sent)

    assert [packed.status_code, client.post(f"{PATH}/", body, **sent).status_code] == [202] * 2
    assert [one.readings[0].metrics for one in waiting()] == [b'{"latency_ms":1.0}'] * 2


@pytest.mark.parametrize("wrong", ["nan", "01", "-inf", '"\\ud800"'])
def test_what_is_no_json_is_named(wrong: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        push_decode(f'{{"latency": 1, "uptime": {wrong}}}'.encode(), received_at=now())

    assert raised.value.field == "$.uptime"


@pytest.mark.parametrize("name", TIME_NAMES)
def test_a_time_may_have_each_of_its_names_and_forms(name: str) -> None:
    time = now().replace(microsecond=0)
    for sent in (time.isoformat(), time.timestamp() * 1000, f"{time.timestamp():.0f}"):
        data = json.dumps(MEASURED | {name: sent}).encode()
        assert push_decode(data, received_at=now()).time == time
    both = json.dumps(MEASURED | {"timestamp": 7, "time": time.isoformat()}).encode()
    assert push_decode(both, received_at=now()).time == time


def test_a_number_as_node_id_is_its_text(client: Client, acme: Fleet, gateway: str) -> None:
    assert push(client, gateway, node_id=867322030123456).json()["node_id"] == "867322030123456"
    assert Device.objects.filter(device_id="867322030123456").exists()


def test_a_gateway_has_to_name_the_node(client: Client, gateway: str) -> None:
    problem = assert_problem(push(client, gateway), 400)

    assert problem["errors"][0]["field"] == "$.node_id"


@pytest.mark.parametrize("node_id", ["no/slash", "-", "a b", "\u00e4"])
def test_a_node_id_that_is_no_device_id_is_refused(
    client: Client, gateway: str, node_id: str
) -> None:
    problem = assert_problem(push(client, gateway, node_id=node_id), 400)

    assert "is not a device ID" in problem["errors"][0]["reason"]


def test_strangers_other_methods_types_and_large_bodies_are_refused(
    client: Client, acme: Fleet
) -> None:
    assert_problem(push(client, "rc_aaaaaaaaaa_wrong"), 401)
    assert_problem(client.post(PATH, "{}", content_type="application/json"), 401)
    assert_problem(client.get(PATH, headers={"Authorization": f"Bearer {acme.key}"}), 405)
    assert_problem(push_raw(client, acme.key, "{}", content_type="text/html"), 415)
    assert_problem(push_raw(client, acme.key, " " * (64 * 1024 + 1)), 413)
