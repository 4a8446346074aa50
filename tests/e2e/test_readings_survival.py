"""Every reading that was acknowledged is stored once and stands in the ledger, whatever dies."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.killing import kill_ingest, kill_postgres, kill_valkey, kill_worker
from tests.stack_data import add_devices, add_gateway, add_tenant, query

KILLS = int(os.environ.get("ROLLCALL_KILLS", "3"))
DEVICES = 100
BATCHES_A_KILL = 40
CLIENTS = 8


@pytest.mark.parametrize("kill", [kill_ingest, kill_worker, kill_valkey, kill_postgres])
def test_every_acknowledged_reading_is_stored_once_when_a_process_is_killed(
    stack: Stack, kill: Callable[[Stack], None]
) -> None:
    tenant_id = add_tenant(stack)
    names = [device.device_id for device in add_devices(stack, tenant_id, _names())]
    gateway = add_gateway(stack, tenant_id)

    acknowledged, statuses = asyncio.run(_send_while_killing(stack, gateway, names, kill))

    assert statuses <= {0, 202, 503}, statuses
    expected = len(acknowledged) * DEVICES
    await_condition(lambda: _settled(stack, tenant_id, expected), 60, "everything to be counted")
    stored = query(
        stack,
        "SELECT seq, count(*) FROM telemetry_reading WHERE tenant_id = %s GROUP BY seq",
        tenant_id,
    )
    assert {seq: count for seq, count in stored if seq in acknowledged} == dict.fromkeys(
        acknowledged, DEVICES
    )
    accepted, kept, duplicate, rejected = _ledger(stack, tenant_id)
    assert accepted == kept + duplicate + rejected
    assert kept == sum(count for _, count in stored)
    assert rejected == 0


def _names() -> list[str]:
    return [f"d{n}" for n in range(DEVICES)]


async def _send_while_killing(
    stack: Stack, gateway: str, names: list[str], kill: Callable[[Stack], None]
) -> tuple[set[int], set[int]]:
    """Sends batches, each until it is acknowledged, and kills KILLS times between.

    Returns the `seq` of the acknowledged batches and the statuses that were answered.
    """
    total = BATCHES_A_KILL * (KILLS + 1)
    waiting = list(range(total))
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
    acknowledged: set[int] = set()
    statuses: set[int] = set()
    kills: list[asyncio.Task[None]] = []
    one_at_a_time = asyncio.Lock()

    async def kill_now() -> None:
        async with one_at_a_time:
            await asyncio.to_thread(kill, stack)

    async def client(session: aiohttp.ClientSession) -> None:
        while waiting:
            seq = waiting.pop()
            body = _batch(names, seq, start + timedelta(seconds=seq))
            while (status := await _post(session, stack, gateway, body)) != 202:
                statuses.add(status)
                await asyncio.sleep(0.1)
            acknowledged.add(seq)
            if len(acknowledged) % BATCHES_A_KILL == 0 and len(acknowledged) < total:
                kills.append(asyncio.create_task(kill_now()))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    await asyncio.gather(*kills)
    assert len(kills) == KILLS
    return acknowledged, statuses | {202}


def _batch(names: list[str], seq: int, time: datetime) -> str:
    moment = time.isoformat()
    return json.dumps(
        [{"device_id": n, "time": moment, "seq": seq, "metrics": {"temp_c": 21.5}} for n in names]
    )


async def _post(session: aiohttp.ClientSession, stack: Stack, key: str, body: str) -> int:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = f"{stack.ingest_url}/api/v1/readings"
    try:
        async with session.post(
            url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=20)
        ) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


def _ledger(stack: Stack, tenant_id: int) -> tuple[int, ...]:
    (row,) = query(
        stack,
        "SELECT coalesce(sum(accepted), 0)::int, coalesce(sum(stored), 0)::int, "
        "coalesce(sum(duplicate), 0)::int, coalesce(sum(rejected), 0)::int "
        "FROM ingest_ledgerminute WHERE tenant_id = %s",
        tenant_id,
    )
    return row


def _settled(stack: Stack, tenant_id: int, expected: int) -> bool:
    accepted, *became = _ledger(stack, tenant_id)
    return accepted >= expected and sum(became) == accepted
