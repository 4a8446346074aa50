"""Files over the API, from the real servers of both kinds: complete, and in bounded memory."""

import asyncio
import csv
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from scripts.stack import Stack
from scripts.waiting import await_condition
from telemetry.api.exports import OF_ONE_PERSON
from tests.e2e.events import access_token
from tests.stack_data import StackDevice, add_devices, add_staff, add_tenant, query
from tests.waits import LIMIT_S

ROWS = 60_000
MAX_GROWTH_KIB = 30 * 1024
FILL = """
INSERT INTO telemetry_reading
    (device_id, tenant_id, time, received_at, seq, msg_type, site, metrics)
SELECT %s, %s, now() - n * interval '15 ms', now(), n, 'telemetry', 'hall',
       jsonb_build_object('temp_c', n %% 50, 'humidity_pct', 40.25, 'note', repeat('x', 100))
FROM generate_series(1, %s) n
"""


@pytest.fixture
def tenant_id(stack: Stack) -> int:
    return add_tenant(stack)


@pytest.fixture
def device(stack: Stack, tenant_id: int) -> Iterator[StackDevice]:
    (device,) = add_devices(stack, tenant_id, ["busy"])
    query(stack, FILL, device.id, tenant_id, ROWS)
    yield device
    # The ledger does not count them, and other tests verify it.
    query(stack, "DELETE FROM telemetry_reading WHERE tenant_id = %s", tenant_id)


@pytest.fixture
def token(stack: Stack, tenant_id: int) -> str:
    return access_token(stack, add_staff(stack, tenant_id, "viewer"))


def peak_kib(pid: int) -> int:
    """The peak memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    return int(own) + sum(peak_kib(int(child)) for child in children)


@pytest.mark.parametrize("server", ["portal", "ingest"])
def test_a_long_file_is_complete_and_costs_little_memory(
    stack: Stack, device: StackDevice, token: str, server: str
) -> None:
    url = {"portal": stack.portal_url, "ingest": stack.ingest_url}[server]

    async def download(query: str) -> bytes:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.get(f"{url}/api/v1/devices/busy/readings?{query}") as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.read()

    asyncio.run(download("hours=1&format=csv&metric=none"))
    before = peak_kib(stack.pid(server))
    body = asyncio.run(download("hours=1&format=csv"))
    grown = peak_kib(stack.pid(server)) - before

    rows = list(csv.reader(io.StringIO(body.decode())))
    assert rows[0][-3:] == ["humidity_pct", "note", "temp_c"]
    assert [int(row[3]) for row in rows[1:]] == list(range(ROWS, 0, -1))
    assert grown < MAX_GROWTH_KIB, f"{grown} KiB for a file of {len(body) // 1024} KiB"


@pytest.mark.parametrize("server", ["portal", "ingest"])
def test_readers_that_leave_or_are_slow_take_no_place_and_no_connection(
    stack: Stack, device: StackDevice, token: str, server: str
) -> None:
    url = {"portal": stack.portal_url, "ingest": stack.ingest_url}[server]
    path = f"{url}/api/v1/devices/busy/readings?hours=1&format=ndjson"
    headers = {"Authorization": f"Bearer {token}"}
    operator = access_token(stack, add_staff(stack, None))
    for_operators = {"Authorization": f"Bearer {operator}"}

    async def leave(*, within_s: float | None) -> int | None:
        """The status of an answer that is not read to its end; None if it never began."""
        patience = aiohttp.ClientTimeout(total=within_s)
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=patience) as session,
                session.get(path) as answer,
            ):
                if answer.status == 200:
                    assert await answer.content.readline()
                return answer.status
        except TimeoutError:
            return None

    async def in_use() -> int:
        """Connections to the database, of the server's pool."""
        async with (
            aiohttp.ClientSession(headers=for_operators) as session,
            session.get(f"{url}/api/v1/ops/pool_health") as answer,
        ):
            return int((await answer.json())["pool"]["in_use"])

    async def read_slowly() -> None:
        async with aiohttp.ClientSession(headers=headers) as session:
            answers: list[aiohttp.ClientResponse] = []
            while len(answers) < OF_ONE_PERSON:  # an earlier connection may still be open
                answers += [one for one in [await session.get(path)] if one.status == 200]
            async with asyncio.timeout(LIMIT_S):
                while await in_use() > 1:  # this query uses one
                    await asyncio.sleep(0.05)
            for answer in answers:
                assert len(await answer.read()) == int(answer.headers["Content-Length"])

    for _ in range(2 * OF_ONE_PERSON):
        asyncio.run(leave(within_s=0.05))
    for _ in range(2 * OF_ONE_PERSON):
        await_condition(lambda: asyncio.run(leave(within_s=None)) == 200, LIMIT_S, "a place")
    asyncio.run(read_slowly())


def test_connections_that_the_database_has_closed_are_not_used(stack: Stack, token: str) -> None:
    theirs = "SELECT pid FROM pg_stat_activity WHERE usename = 'rollcall_web' AND datname = %s"
    name = query(stack, "SELECT current_database()")[0][0]

    async def answer(session: aiohttp.ClientSession) -> str:
        async with session.get(f"{stack.ingest_url}/api/v1/devices") as given:
            return "fine" if given.status == 200 else f"{given.status} {await given.text()}"

    async def answers() -> set[str]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            return set(await asyncio.gather(*(answer(session) for _ in range(4))))

    assert asyncio.run(answers()) == {"fine"}
    pids = {pid for (pid,) in query(stack, theirs, name)}
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    await_condition(
        lambda: pids.isdisjoint(p for (p,) in query(stack, theirs, name)), LIMIT_S, "ends"
    )

    assert asyncio.run(answers()) == {"fine"}
