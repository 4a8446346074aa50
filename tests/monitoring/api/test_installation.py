"""The state of the installation over the API: health for everybody, the rest for operators."""

import pytest
from django.contrib.auth.models import User

from devices.models import OperatorAccess
from devices.tenancy.access import Role
from monitoring.system.health import worker_finding
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member, send
from tests.telemetry.past import moment, store

FOR_OPERATORS = (
    "monitoring/health/database",
    "monitoring/health/timescaledb",
    "monitoring/metrics/hypertables",
    "monitoring/metrics/compression",
    "monitoring/metrics/chunks",
    "monitoring/status/timescaledb",
    "monitoring/configuration",
    "ops/pool_health",
)


@pytest.mark.parametrize("path", FOR_OPERATORS)
def test_figures_are_for_operators_and_their_reading_is_recorded(
    path: str, acme: Fleet, operator: User
) -> None:
    assert_problem(send(caller(None), "get", path), 401)
    problem = assert_problem(send(member(acme, Role.OWNER), "get", path), 403)
    assert "operators" in problem["detail"]
    assert send(caller(operator), "get", path).status_code == 200
    (record,) = OperatorAccess.objects.all()
    assert (record.username, record.path) == ("operator", f"/api/v1/{path}")


def test_everybody_is_told_whether_it_is_well(acme: Fleet) -> None:
    assert_problem(send(caller(None), "get", "monitoring/health"), 401)
    told = send(member(acme, Role.VIEWER), "get", "monitoring/health").json()
    assert told == {
        "status": "degraded",
        "database": "ok",
        "valkey": "ok",
        "worker": "degraded",
        "timescaledb": "ok",
        "why": {"worker": worker_finding().why},
    }


def test_the_database_and_timescaledb_are_healthy(operator: User) -> None:
    client = caller(operator)
    database = send(client, "get", "monitoring/health/database").json()
    assert database["status"] == "ok"
    assert database["version"].startswith("17")
    assert database["size_bytes"] > 1_000_000
    assert 0 < database["connections"] < database["max_connections"]
    timescale = send(client, "get", "monitoring/health/timescaledb").json()
    assert timescale["status"] == "ok"
    assert timescale["extension_installed"] is True
    assert timescale["hypertables"] == 3


def test_hypertables_and_their_chunks_are_listed(acme: Fleet, operator: User) -> None:
    store(acme.device, moment(1), {"a": 1})
    client = caller(operator)
    tables = send(client, "get", "monitoring/metrics/hypertables").json()["hypertables"]
    readings = next(one for one in tables if one["name"] == "telemetry_reading")
    assert readings["chunks"] == 1
    assert readings["chunk_interval_s"] == 86_400
    assert readings["bytes"] > 0
    path = "monitoring/metrics/chunks?hypertable=telemetry_reading&limit=5"
    (chunk,) = send(client, "get", path).json()["chunks"]
    assert chunk["start"] < chunk["end"]
    assert chunk["is_compressed"] is False


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("hypertable=%00", "hypertable")],
)
def test_chunks_are_bounded(query: str, field: str, operator: User) -> None:
    answer = send(caller(operator), "get", f"monitoring/metrics/chunks?{query}")
    assert assert_problem(answer, 400)["errors"][0]["field"] == field


def test_compression_is_said_to_be_unavailable_in_the_apache_edition(operator: User) -> None:
    told = send(caller(operator), "get", "monitoring/metrics/compression").json()
    assert (told["available"], told["edition"], told["hypertables"]) == (False, "apache", [])
    assert "columnstore" in told["reason"]


def test_the_configuration_has_no_secrets(operator: User) -> None:
    told = send(caller(operator), "get", "monitoring/configuration")
    assert told.json()["chunk_intervals"]["reading"] == "1 day"
    assert told.json()["settings"]["INGEST_SHARDS"] == 2
    for word in (b"://", b"SECRET", b"PASSWORD", b'KEY"'):
        assert word not in told.content


def test_pool_health_tells_the_use_of_the_pool_and_of_the_server(operator: User) -> None:
    told = send(caller(operator), "get", "ops/pool_health").json()
    assert told["status"] == "ok"
    assert told["pool"]["max"] == 8
    assert told["pool"]["in_use"] >= 1
    assert 0 < told["server"]["utilization_pct"] < 80
