"""Nothing that got a 202 is lost, whatever is killed meanwhile."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.device import post
from tests.e2e.killing import kill_drain, kill_valkey
from tests.stack_data import StackDevice, add_devices, add_tenant, query
from tests.waits import LIMIT_S

HEARTBEATS = 10_000
DEVICES = 500
KILLS = int(os.environ.get("ROLLCALL_KILLS", "3"))
CLIENTS = 32


@pytest.mark.parametrize("kill", [kill_drain, kill_valkey])
def test_every_accepted_heartbeat_is_stored_once_when_a_process_is_killed(
    stack: Stack, kill: Callable[[Stack], None]
) -> None:
    tenant_id = add_tenant(stack)
    devices = add_devices(stack, tenant_id, [f"d{n}" for n in range(DEVICES)])

    statuses, accepted = asyncio.run(_send_all_while_killing(stack, devices, kill))

    assert set(statuses) <= {202, 503}, statuses
    assert len(accepted) == HEARTBEATS
    await_condition(
        lambda: _stored(stack, tenant_id) >= HEARTBEATS, LIMIT_S, "everything to be stored"
    )
    rows = query(
        stack,
        "SELECT d.device_id, h.time, count(*) FROM telemetry_heartbeat h "
        "JOIN devices_device d ON d.id = h.device_id WHERE h.tenant_id = %s GROUP BY 1, 2",
        tenant_id,
    )
    assert {(name, time) for name, time, _ in rows} == accepted
    assert {count for _, _, count in rows} == {1}


async def _send_all_while_killing(
    stack: Stack, devices: list[StackDevice], kill: Callable[[Stack], None]
) -> tuple[Counter[int], set[tuple[str, datetime]]]:
    """Sends HEARTBEATS heartbeats, each until it is accepted, with KILLS kills in between.

    Returns how often each status was answered, and (device_id, time) of what was accepted.
    """
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    each = HEARTBEATS // len(devices)
    waiting = [(d, start + timedelta(seconds=10 * n)) for n in range(each) for d in devices]
    waiting.reverse()
    statuses: Counter[int] = Counter()
    accepted: set[tuple[str, datetime]] = set()
    kill_at = {HEARTBEATS * (n + 1) // (KILLS + 1) for n in range(KILLS)}
    kills: list[asyncio.Task[None]] = []
    one_at_a_time = asyncio.Lock()

    async def kill_now() -> None:
        async with one_at_a_time:
            await asyncio.to_thread(kill, stack)

    async def client(session: aiohttp.ClientSession) -> None:
        while waiting:
            device, time = waiting.pop()
            while (status := await post(session, stack, device, {"time": time.isoformat()})) != 202:
                statuses[status] += 1
                await asyncio.sleep(0.05)
            statuses[202] += 1
            accepted.add((device.device_id, time))
            if len(accepted) in kill_at:
                kills.append(asyncio.create_task(kill_now()))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    await asyncio.gather(*kills)
    assert len(kills) == KILLS
    return statuses, accepted


def _stored(stack: Stack, tenant_id: int) -> int:
    statement = "SELECT count(*) FROM telemetry_heartbeat WHERE tenant_id = %s"
    return int(query(stack, statement, tenant_id)[0][0])
