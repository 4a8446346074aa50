"""While PostgreSQL is unavailable, messages are still accepted and none is lost; people are told to
try again later."""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import aiohttp

from bench.processes import memory_mb, tree
from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.conftest import Tell
from tests.e2e.batches import assert_stored_once, batch, post_batch, settled
from tests.e2e.events import access_token
from tests.e2e.live import session_cookie
from tests.stack_data import add_devices, add_gateway, add_staff, add_tenant

AWAY_S = float(os.environ.get("ROLLCALL_AWAY_S", "10"))
DEVICES = 100
CLIENTS = 8
# Per client: 8,000 readings a second in total.
BATCHES_A_SECOND = 10
STORE_TIMEOUT_S = 180
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
# How much a part's memory may grow while messages are accepted but not stored.
MOST_GROWTH_MB = {"ingest": 60.0, "drain": 60.0, "valkey": 250.0}


@dataclass
class Sent:
    """What was answered: statuses, the `seq` of what was acknowledged, and the slowest answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: set[int] = field(default_factory=set)
    slowest_s: float = 0.0


class Person(NamedTuple):
    """A person signed in with both a token and a session."""

    token: str
    cookie: str


@dataclass
class Memory:
    """Resident memory of each part in MB: at first, and the most that was seen."""

    first: dict[str, float]
    most: dict[str, float]

    def growth(self) -> dict[str, float]:
        return {name: self.most[name] - self.first[name] for name in self.first}


def test_everything_is_accepted_and_stored_afterwards_when_the_database_is_away(
    stack: Stack, tell: Tell
) -> None:
    tenant_id = add_tenant(stack)
    names = [f"d{n}" for n in range(DEVICES)]
    add_devices(stack, tenant_id, names)
    gateway = add_gateway(stack, tenant_id)
    user = add_staff(stack, tenant_id)
    person = Person(access_token(stack, user), asyncio.run(session_cookie(stack, user)))
    sent = Sent()
    asyncio.run(send(stack, gateway, names, sent, seq=0))
    await_condition(
        lambda: settled(stack, tenant_id, DEVICES), STORE_TIMEOUT_S, "beat and the drain to work"
    )
    first = resident_mb(stack)
    memory = Memory(first, dict(first))

    told = asyncio.run(send_while_away(stack, gateway, names, sent, memory, person))
    back_at = time.monotonic()

    assert set(sent.statuses) == {202}, sent.statuses
    messages = len(sent.acknowledged) * DEVICES
    await_condition(
        lambda: settled(stack, tenant_id, messages), STORE_TIMEOUT_S, "everything to be stored"
    )
    caught_up_s = time.monotonic() - back_at
    assert_stored_once(stack, tenant_id, sent.acknowledged, DEVICES)
    assert "accounted for" in stack.manage("ledger", "--verify")
    tell(
        f"database away for {AWAY_S:.0f} s: {messages} readings accepted, all stored "
        f"{caught_up_s:.1f} s after its return; statuses {dict(sent.statuses)}, slowest answer "
        f"{sent.slowest_s:.2f} s; resident memory, at first and at most: "
        + ", ".join(f"{n} {memory.first[n]:.0f} and {memory.most[n]:.0f} MB" for n in first)
    )
    problem = (503, "application/problem+json")
    assert told == {
        **dict.fromkeys(("devices", "stream", "stream of a session"), problem),
        "page": (503, "text/html"),
    }
    for name, growth_mb in memory.growth().items():
        assert growth_mb < MOST_GROWTH_MB[name], memory


async def people_are_told(stack: Stack, token: str, cookie: str) -> dict[str, tuple[int, str]]:
    """What people are answered by the portal: status and type, by what they ask for and how."""
    by_token, by_session = {"Authorization": f"Bearer {token}"}, {"Cookie": f"sessionid={cookie}"}
    asked = (
        ("devices", "/api/v1/devices", by_token),
        ("stream", "/api/v1/live", by_token),
        ("stream of a session", "/api/v1/live", by_session),
        ("page", "/admin/devices/device/", by_session),
    )
    told = {}
    async with aiohttp.ClientSession(stack.portal_url) as session:
        for name, path, headers in asked:
            async with session.get(path, headers=headers) as answer:
                told[name] = (answer.status, answer.content_type)
    return told


async def send_while_away(
    stack: Stack, gateway: str, names: list[str], sent: Sent, memory: Memory, person: Person
) -> dict[str, tuple[int, str]]:
    """Sends batches steadily while the database is killed and returns after AWAY_S. Returns what
    the person was answered in that time."""
    numbers = count(1)
    is_over = asyncio.Event()

    async def client() -> None:
        while not is_over.is_set():
            began = time.monotonic()
            await send(stack, gateway, names, sent, seq=next(numbers))
            await asyncio.sleep(max(0.0, 1 / BATCHES_A_SECOND + began - time.monotonic()))

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await asyncio.to_thread(stack.kill_service, "postgres")
    until = time.monotonic() + AWAY_S
    told = await people_are_told(stack, person.token, person.cookie)
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        note_most(memory, resident_mb(stack))
    await asyncio.to_thread(stack.start_service, "postgres")
    is_over.set()
    await asyncio.gather(*clients)
    return told


async def send(stack: Stack, gateway: str, names: list[str], sent: Sent, *, seq: int) -> None:
    began = time.monotonic()
    body = batch(names, seq, START + timedelta(seconds=seq))
    async with aiohttp.ClientSession() as session:
        status = await post_batch(session, stack, gateway, body)
    sent.statuses[status] += 1
    sent.slowest_s = max(sent.slowest_s, time.monotonic() - began)
    if status == 202:
        sent.acknowledged.add(seq)


def resident_mb(stack: Stack) -> dict[str, float]:
    """Resident memory of ingest and drain with their children, and of Valkey."""
    pids = {name: stack.pid(name) for name in ("ingest", "drain")}
    pids |= {one.name: one.pid for one in stack.services.status() if one.pid is not None}
    return {name: memory_mb(tree(pids[name]))[1] for name in MOST_GROWTH_MB}


def note_most(memory: Memory, seen: dict[str, float]) -> None:
    for name, megabytes in seen.items():
        memory.most[name] = max(memory.most[name], megabytes)
