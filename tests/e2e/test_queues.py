"""Storing and everything else have separate processes, which record that they are alive."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import aiohttp
import psycopg
import redis

from config.celery import app
from config.health import PARTS
from monitoring.system.alive import KEY
from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.device import post
from tests.stack_data import StackDevice, add_devices, add_tenant, query
from tests.waits import LIMIT_S

OPS_PROCESSES = 2
# Any task of ops, which a lock on a table makes as long as the test needs.
LONG_TASK, ITS_TABLE = "devices.operator_access_prune", "devices_operatoraccess"
WAITING = f"""
SELECT count(*)::int FROM pg_locks
WHERE NOT granted AND relation = '{ITS_TABLE}'::regclass
"""


def test_a_long_task_stops_neither_the_sweep_nor_storing(stack: Stack) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])

    with long_tasks(stack):
        start_long_task(stack)
        await_waiting(stack, 1)
        began_at = datetime.now(UTC)
        await_condition(lambda: swept_since(stack, began_at), LIMIT_S, "a sweep")

        # One per process of ops, and one more that waits.
        for _ in range(OPS_PROCESSES):
            start_long_task(stack)
        await_waiting(stack, OPS_PROCESSES)
        assert asyncio.run(send(stack, device)) == 202
        await_condition(lambda: is_stored(stack, device), LIMIT_S, "the heartbeat to be stored")
        assert waiting(stack) == OPS_PROCESSES


@contextmanager
def long_tasks(stack: Stack) -> Iterator[None]:
    """LONG_TASK does not end before the block does."""
    with psycopg.connect(stack.database_url) as connection:
        connection.execute(f"LOCK TABLE {ITS_TABLE} IN ACCESS EXCLUSIVE MODE")
        yield


def start_long_task(stack: Stack) -> None:
    with app.connection_for_write(stack.env["VALKEY_URL"]) as broker:
        app.send_task(LONG_TASK, connection=broker)


def waiting(stack: Stack) -> int:
    return int(query(stack, WAITING)[0][0])


def await_waiting(stack: Stack, count: int) -> None:
    await_condition(lambda: waiting(stack) == count, LIMIT_S, f"{count} long tasks to run")


def swept_since(stack: Stack, ts: datetime) -> bool:
    statement = "SELECT count(*) > 0 FROM telemetry_presencesweep WHERE swept_at > %s"
    return bool(query(stack, statement, ts)[0][0])


async def send(stack: Stack, device: StackDevice) -> int:
    async with aiohttp.ClientSession() as session:
        return await post(session, stack, device, {"time": datetime.now(UTC).isoformat()})


def is_stored(stack: Stack, device: StackDevice) -> bool:
    statement = "SELECT count(*) FROM telemetry_heartbeat WHERE device_id = %s"
    return query(stack, statement, device.id) == [(1,)]


def test_every_part_says_that_it_lives(stack: Stack) -> None:
    with redis.Redis.from_url(stack.env["VALKEY_URL"]) as valkey:
        await_condition(
            lambda: {key.decode() for key in valkey.hkeys(KEY)} == set(PARTS),
            LIMIT_S,
            "all parts to have said so",
        )
