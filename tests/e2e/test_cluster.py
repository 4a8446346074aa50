"""From POST to row with the stream on a Valkey Cluster of three nodes, and two drains."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.conftest import STACK_SETTINGS
from tests.e2e.batches import (
    METRICS,
    assert_stored_once,
    batch,
    post_batch,
    send_while_killing,
    settled,
)
from tests.e2e.cluster import Cluster
from tests.e2e.device import post
from tests.services import STATE
from tests.stack_data import StackDevice, add_devices, add_gateway, add_tenant, query
from tests.waits import LIMIT_S

SHARDS = 4
DEVICES = 50
KILLS = 3
DRAINS = ("drain", "drain-2")


@pytest.fixture(scope="module")
def clustered(cluster: Cluster) -> Iterator[Stack]:
    """A stack of its own, on the cluster, with a second worker that drains."""
    overrides = {
        **STACK_SETTINGS,
        "INGEST_STREAM_URL": cluster.url,
        "INGEST_SHARDS": str(SHARDS),
        "INGEST_DRAIN_RUN_S": "1",
    }
    stack = Stack(STATE, overrides, database="cluster", valkey_database=2)
    stack.up()
    stack.start("drain-2", "drain")
    yield stack
    stack.stop_all()


@pytest.fixture
def tenant_id(clustered: Stack) -> int:
    return add_tenant(clustered)


@pytest.fixture
def devices(clustered: Stack, tenant_id: int) -> list[StackDevice]:
    return add_devices(clustered, tenant_id, [f"d{n}" for n in range(DEVICES)])


@pytest.fixture
def gateway(clustered: Stack, tenant_id: int, devices: list[StackDevice]) -> str:
    return add_gateway(clustered, tenant_id)


async def send(stack: Stack, gateway: str, names: list[str], count: int) -> list[int]:
    """The statuses of this many batches, one after the other, with `seq` from 0."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
    async with aiohttp.ClientSession() as session:
        bodies = [batch(names, seq, start + timedelta(seconds=seq)) for seq in range(count)]
        return [await post_batch(session, stack, gateway, body) for body in bodies]


async def send_heartbeats(stack: Stack, devices: list[StackDevice]) -> list[int]:
    async with aiohttp.ClientSession() as session:
        return [await post(session, stack, device, {"battery_pct": 50}) for device in devices]


def names_of(devices: list[StackDevice]) -> list[str]:
    return [device.device_id for device in devices]


def await_stored(stack: Stack, tenant_id: int, messages: int) -> None:
    await_condition(
        lambda: settled(stack, tenant_id, messages), LIMIT_S, f"{messages} to be stored"
    )


def test_readings_and_heartbeats_are_stored_once_from_shards_on_three_nodes(
    clustered: Stack,
    cluster: Cluster,
    tenant_id: int,
    devices: list[StackDevice],
    gateway: str,
) -> None:
    batches = 100

    assert set(asyncio.run(send(clustered, gateway, names_of(devices), batches))) == {202}
    assert set(asyncio.run(send_heartbeats(clustered, devices))) == {202}

    await_stored(clustered, tenant_id, (batches + 1) * DEVICES)
    (heartbeats,) = query(
        clustered,
        "SELECT count(*), count(DISTINCT device_id) FROM telemetry_heartbeat WHERE tenant_id = %s",
        tenant_id,
    )
    assert heartbeats == (DEVICES, DEVICES)
    (readings,) = query(
        clustered,
        "SELECT count(*), count(DISTINCT (device_id, seq)) FROM telemetry_reading "
        "WHERE tenant_id = %s",
        tenant_id,
    )
    assert readings == (batches * DEVICES, batches * DEVICES)
    held = [node.shards(SHARDS) for node in cluster.nodes]
    assert all(held), "each node has shards of its own"
    assert sorted(shard for shards in held for shard in shards) == list(range(SHARDS))


def test_nothing_acknowledged_is_lost_when_a_node_is_killed(
    clustered: Stack,
    cluster: Cluster,
    tenant_id: int,
    devices: list[StackDevice],
    gateway: str,
) -> None:
    nodes = iter(cluster.nodes * KILLS)

    def kill_a_node(stack: Stack) -> None:
        node = next(nodes)
        node.kill()
        node.start()
        cluster.await_whole()

    acknowledged, statuses = asyncio.run(
        send_while_killing(clustered, gateway, names_of(devices), kill_a_node, KILLS)
    )

    assert statuses <= {202, 503}, statuses
    await_stored(clustered, tenant_id, len(acknowledged) * DEVICES)
    assert_stored_once(clustered, tenant_id, acknowledged, DEVICES, METRICS)


def test_the_shards_of_other_nodes_take_and_store_while_a_node_is_away(
    clustered: Stack,
    cluster: Cluster,
    tenant_id: int,
    devices: list[StackDevice],
    gateway: str,
) -> None:
    batches = 60
    lost = cluster.nodes[0]
    lost_shards = sorted(lost.shards(SHARDS))
    lost.kill()
    try:
        statuses = asyncio.run(send(clustered, gateway, names_of(devices), batches))
        assert set(statuses) == {202}
        await_condition(
            lambda: stored(clustered, tenant_id) == batches * DEVICES,
            LIMIT_S,
            "what the other nodes took to be stored",
        )
        names = ", ".join(map(str, lost_shards))
        status, why = health(clustered)
        assert status == "degraded"
        assert f"Shards {names} do not answer" in why
    finally:
        lost.start()
        cluster.await_whole()

    await_stored(clustered, tenant_id, batches * DEVICES)


def test_each_drain_alone_stores_what_all_shards_hold(
    clustered: Stack, tenant_id: int, devices: list[StackDevice], gateway: str
) -> None:
    batches = 40
    for n, name in enumerate(DRAINS, 1):
        clustered.kill(name)

        assert set(asyncio.run(send(clustered, gateway, names_of(devices), batches))) == {202}
        await_condition(
            lambda: stored(clustered, tenant_id) == batches * DEVICES,
            LIMIT_S,
            f"one drain to store without {name}",
        )
        # The second time, the same batches are sent and recognised.
        await_stored(clustered, tenant_id, n * batches * DEVICES)
        clustered.start(name, "drain")


def test_the_ledger_is_verified_on_the_cluster(clustered: Stack) -> None:
    assert "accounted for" in clustered.manage("ledger", "--verify")


def test_what_waits_in_shards_that_are_no_more_is_stored(
    clustered: Stack,
    cluster: Cluster,
    tenant_id: int,
    devices: list[StackDevice],
    gateway: str,
) -> None:
    batches = 40
    for name in ("beat", "ops", *DRAINS):
        clustered.stop(name)
    assert set(asyncio.run(send(clustered, gateway, names_of(devices), batches))) == {202}
    assert all(cluster.waiting(shard) for shard in range(SHARDS))

    fewer = {"INGEST_SHARDS": "1"}
    for name in ("portal", "ingest"):
        clustered.stop(name)
    for name in ("portal", "ingest", "drain", "ops", "beat"):
        clustered.start(name, overrides=fewer)
    clustered.await_servers()

    await_stored(clustered, tenant_id, batches * DEVICES)
    assert not any(cluster.waiting(shard) for shard in range(SHARDS))
    assert "accounted for" in clustered.manage("ledger", "--verify")


def health(stack: Stack) -> tuple[str, str]:
    """The status, and what it says of the stream."""
    with urllib.request.urlopen(f"{stack.ingest_url}/health", timeout=LIMIT_S) as answer:
        told = json.load(answer)
    return told["status"], told["why"]["stream"]


def stored(stack: Stack, tenant_id: int) -> int:
    statement = "SELECT count(*) FROM telemetry_reading WHERE tenant_id = %s"
    return int(query(stack, statement, tenant_id)[0][0])
