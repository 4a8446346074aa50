import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.fleet.keys import credential_issue, gateway_credential_issue
from devices.models import Device, OperatorAccess
from ingest.probes.latest import HEARD_WITHIN
from telemetry.sql.reading import IncomingReading
from tests.conftest import Fleet
from tests.ingest.door.test_views_heartbeats import assert_problem
from tests.ingest.way import seconds_ago
from tests.telemetry.storing import readings_store

PATH = "/api/metrics"


def add_probe(fleet: Fleet, name: str, **metrics: Any) -> Device:
    probe = Device.objects.create(
        tenant=fleet.tenant, device_id=name, name=name.title(), kind=Device.Kind.PROBE
    )
    add_reading(probe, seconds_ago(60), latency_ms=99)
    add_reading(probe, seconds_ago(0), **(metrics or {"latency_ms": 21.5}))
    return probe


def add_reading(probe: Device, time: datetime, *, delay_s: float = 0, **metrics: Any) -> None:
    """A reading that is received `delay_s` after its time."""
    incoming = IncomingReading(
        probe.pk,
        probe.tenant_id,
        time,
        time + timedelta(seconds=delay_s),
        None,
        "probe",
        "Accra",
        json.dumps(metrics).encode(),
    )
    assert not readings_store(readings=[incoming]).joins


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200
    return [node["node_id"] for node in answer.json()["data"]]


def get(client: Client, key: str, **parameters: Any) -> Any:
    return client.get(PATH, parameters, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def gateway(acme: Fleet) -> str:
    return gateway_credential_issue(tenant=acme.tenant).key


def test_a_gateway_gets_the_latest_of_each_probe_of_its_tenant(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    add_probe(acme, "one", latency_ms=12.5, uptime_pct=100)
    add_probe(rival, "secret")
    add_reading(acme.device, seconds_ago(0), temp_c=1)  # a phone

    answer = get(client, gateway)

    assert answer.json()["status"] == "ok"
    assert answer.json()["next"] is None
    (node,) = answer.json()["data"]
    assert datetime.fromisoformat(node.pop("timestamp")).utcoffset() == timedelta(0)
    assert datetime.fromisoformat(node.pop("received_at")).utcoffset() == timedelta(0)
    assert node == {
        "node_id": "one",
        "node_name": "One",
        "region": "Accra",
        "metrics": {"latency_ms": 12.5, "uptime_pct": 100},
    }


def test_a_probe_gets_its_own_only(client: Client, acme: Fleet) -> None:
    add_probe(acme, "one")
    key = credential_issue(device=add_probe(acme, "two")).key

    assert names(get(client, key)) == ["two"]


def test_a_key_is_answered_from_a_scope_to_read_in(client: Client, gateway: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert names(get(client, gateway)) == []

    assert any("'transaction_read_only', 'on'" in one["sql"] for one in asked)


def test_a_person_gets_those_of_the_persons_tenants(
    client: Client, acme: Fleet, rival: Fleet, operator: User
) -> None:
    add_probe(acme, "one")
    add_probe(rival, "secret")

    client.force_login(acme.manager)
    assert names(client.get(PATH)) == ["one"]
    client.force_login(operator)
    assert names(client.get(PATH)) == ["one", "secret"]
    assert OperatorAccess.objects.get().path == PATH


def test_probes_silent_for_a_week_are_left_out(client: Client, acme: Fleet, gateway: str) -> None:
    silent = Device.objects.create(tenant=acme.tenant, device_id="silent", kind="probe")
    add_reading(silent, seconds_ago(HEARD_WITHIN.total_seconds() + 60), latency_ms=1)

    assert names(get(client, gateway)) == []


def test_a_backlog_is_not_the_latest(client: Client, acme: Fleet, gateway: str) -> None:
    probe = add_probe(acme, "one", latency_ms=5)
    add_reading(probe, seconds_ago(3600), delay_s=3601, latency_ms=99)

    (node,) = get(client, gateway).json()["data"]
    assert node["metrics"] == {"latency_ms": 5}


@pytest.mark.parametrize("skew_s", [-7200, 7200])
def test_a_wrong_clock_hides_no_probe(
    client: Client, acme: Fleet, gateway: str, skew_s: int
) -> None:
    probe = Device.objects.create(tenant=acme.tenant, device_id="one", kind="probe")
    for ago_s in (20, 10, 0):
        add_reading(probe, seconds_ago(ago_s - skew_s), delay_s=-skew_s, ago_s=ago_s)

    (node,) = get(client, gateway).json()["data"]
    assert node["metrics"] == {"ago_s": 0}


def test_pages_follow_each_other(client: Client, acme: Fleet, gateway: str) -> None:
    for name in ("one", "two", "three"):
        add_probe(acme, name)

    first = get(client, gateway, limit=2)
    second = get(client, gateway, limit=2, after=first.json()["next"])

    assert names(first) + names(second) == ["one", "two", "three"]
    assert second.json()["next"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limi", "1"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", ""),
        ("limit", "1e3"),
        ("limit", "\u0663"),
        ("after", "9" * 5000),
        ("after", "2147483648"),
        ("after", "1;drop table devices_device"),
        ("after", "\x00"),
    ],
)
def test_the_parameter_is_named_when_it_is_wrong(
    client: Client, gateway: str, name: str, value: str
) -> None:
    problem = assert_problem(get(client, gateway, **{name: value}), 400)

    assert problem["errors"][0]["field"] == name


def test_strangers_are_refused(client: Client, acme: Fleet) -> None:
    assert_problem(client.get(PATH), 401)
    assert_problem(get(client, "nonsense"), 401)
    assert_problem(client.post(PATH), 401)
    client.force_login(acme.manager)
    assert_problem(client.post(PATH), 405)
