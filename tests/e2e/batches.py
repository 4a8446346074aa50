"""Batches of readings that a gateway sends over HTTP, each until it is acknowledged."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from scripts.stack import Stack
from tests.stack_data import query
from tests.waits import LIMIT_S

BATCHES_A_KILL = 40
CLIENTS = 8
# Each turn is sent as two batches, with one of these metrics each, so that their readings join.
METRICS = ("temp_c", "load1")
INVALID: dict[str, Any] = {"metrics": {"temp_c": {}}}


async def send_while_killing(
    stack: Stack, gateway: str, names: list[str], kill: Callable[[Stack], None], kills: int
) -> tuple[set[int], set[int]]:
    """Sends batches, each until it is acknowledged, and kills `kills` times between. The batches of
    one `seq` join, and have an invalid reading each, which is refused.

    Returns the `seq` of the acknowledged batches and the statuses that were answered.
    """
    total = BATCHES_A_KILL * (kills + 1)
    waiting = list(range(total))
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
    acknowledged: set[int] = set()
    statuses: set[int] = set()
    killing: list[asyncio.Task[None]] = []
    one_at_a_time = asyncio.Lock()

    async def kill_now() -> None:
        async with one_at_a_time:
            await asyncio.to_thread(kill, stack)

    async def client(session: aiohttp.ClientSession) -> None:
        while waiting:
            seq = waiting.pop()
            for metric in METRICS:
                body = batch(names, seq, start + timedelta(seconds=seq), metric, INVALID)
                while (status := await post_batch(session, stack, gateway, body)) != 202:
                    assert status in (0, 503), status  # no other answer justifies sending it again
                    statuses.add(status)
                    await asyncio.sleep(0.1)
            acknowledged.add(seq)
            if len(acknowledged) % BATCHES_A_KILL == 0 and len(acknowledged) < total:
                killing.append(asyncio.create_task(kill_now()))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    await asyncio.gather(*killing)
    assert len(killing) == kills
    return acknowledged, statuses | {202}


def batch(
    names: list[str],
    seq: int,
    time: datetime,
    metric: str = METRICS[0],
    *others: dict[str, Any],
) -> str:
    """One reading per device, all with the same time and `seq`, and other messages."""
    head = {"time": time.isoformat(), "seq": seq, "metrics": {metric: 21.5}}
    return json.dumps([*({"device_id": name, **head} for name in names), *others])


async def post_batch(session: aiohttp.ClientSession, stack: Stack, key: str, body: str) -> int:
    """The status code of the answer; 0 if there was none."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = f"{stack.ingest_url}/api/v1/readings"
    try:
        async with session.post(
            url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=LIMIT_S)
        ) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


def ledger(stack: Stack, tenant_id: int) -> tuple[int, ...]:
    """The tenant's accepted, stored, not stored again, and rejected messages."""
    (row,) = query(
        stack,
        "SELECT coalesce(sum(accepted), 0)::int, coalesce(sum(stored), 0)::int, "
        "coalesce(sum(joined + duplicate + conflict), 0)::int, coalesce(sum(rejected), 0)::int "
        "FROM ingest_ledgerminute WHERE tenant_id = %s",
        tenant_id,
    )
    return row


def settled(stack: Stack, tenant_id: int, expected: int) -> bool:
    """Whether this many messages were accepted and all are accounted for."""
    accepted, *became = ledger(stack, tenant_id)
    return accepted >= expected and sum(became) == accepted


def assert_stored_once(
    stack: Stack,
    tenant_id: int,
    acknowledged: set[int],
    devices: int,
    metrics: Sequence[str] = METRICS[:1],
) -> None:
    """Asserts that each acknowledged batch is stored once, with these metrics, and the ledger
    agrees."""
    stored = query(
        stack,
        "SELECT seq, count(*), count(*) FILTER (WHERE metrics ?& %s) FROM telemetry_reading "
        "WHERE tenant_id = %s GROUP BY seq",
        list(metrics),
        tenant_id,
    )
    whole = {seq: (count, complete) for seq, count, complete in stored if seq in acknowledged}
    assert whole == dict.fromkeys(acknowledged, (devices, devices))
    accepted, kept, duplicate, rejected = ledger(stack, tenant_id)
    assert accepted == kept + duplicate + rejected
    assert kept == sum(count for _, count, _ in stored)
    assert rejected == 0
