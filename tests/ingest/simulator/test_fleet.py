"""The simulated fleet against a small HTTP server of its own, and against the whole stack."""

import asyncio
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.messages.heartbeat import heartbeat_decode
from ingest.simulator.fleet import fleet_run
from ingest.simulator.habits import Habits
from ingest.simulator.phone import Phone, Rotation
from ingest.simulator.tally import UNREACHABLE, Tally
from scripts.processes import BIN, ROOT
from scripts.services.ports import port_choose
from scripts.stack import Stack
from scripts.waiting import await_condition
from telemetry.vitals import NAMES
from tests.waits import LIMIT_S

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STEADY = Habits(interval_s=0.2, jitter=0, silent_share=0, duplicate_share=0)


class Door:
    """A server that notes each post as (when in s, key, body) and gives the `answers`, pairs of
    status and headers; 202 once they are used up."""

    def __init__(self, answers: Sequence[tuple[int, dict[str, str]]] = (), port: int = 0) -> None:
        self.posts: list[tuple[float, str, bytes]] = []
        self.port = port
        self._answers = list(answers)

    async def __aenter__(self) -> "Door":
        app = web.Application()
        app.router.add_post("/api/v1/heartbeats", self._post)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _post(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        self.posts.append((now, request.headers["Authorization"], await request.read()))
        status, headers = self._answers.pop(0) if self._answers else (202, {})
        return web.Response(status=status, headers=headers)


class Diarist(Phone):
    """Notes when it was to speak, in seconds of the fleet's life."""

    def __init__(self) -> None:
        super().__init__(device_id="phone-1", token="key-1", seed=1)
        self.spoke_s: list[float] = []

    def heartbeat(self, *, at_s: float, time: datetime) -> bytes:
        self.spoke_s.append(at_s)
        return super().heartbeat(at_s=at_s, time=time)


async def live(
    url: str,
    habits: Habits,
    until: Callable[[Tally], bool],
    count: int = 1,
    own: Sequence[Phone] = (),
) -> Tally:
    """Lets `count` phones, or one's own, live until the condition holds."""
    tally, stop = Tally(), asyncio.Event()
    fleet = asyncio.create_task(
        fleet_run(phones=own or phones(count), url=url, habits=habits, tally=tally, stop=stop)
    )
    async with asyncio.timeout(LIMIT_S):
        await _until(lambda: until(tally))
        stop.set()
        await fleet
    return tally


def phones(count: int, seed: int = 1) -> list[Phone]:
    return [Phone(device_id=f"phone-{n}", token=f"key-{n}", seed=seed) for n in range(1, count + 1)]


def test_each_phone_posts_once_an_interval_when_the_door_is_open() -> None:
    async def scenario() -> Door:
        async with Door() as door:
            await live(door.url, STEADY, lambda tally: tally.accepted >= 40, count=8)
            return door

    posts = asyncio.run(scenario()).posts
    keys = Counter(key for _, key, _ in posts)
    assert set(keys) == {f"Bearer key-{n}" for n in range(1, 9)}
    assert max(keys.values()) - min(keys.values()) <= 2
    times = sorted(when for when, key, _ in posts if key == "Bearer key-1")
    assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(0.2, abs=0.05)


def test_a_phone_speaks_later_and_never_sooner_when_there_is_jitter() -> None:
    async def scenario() -> list[float]:
        phone = Diarist()
        habits = Habits(interval_s=0.05, jitter=0.5, silent_share=0.2, silent_for_s=0.2)
        async with Door() as door:
            await live(door.url, habits, lambda _: len(phone.spoke_s) >= 30, own=[phone])
        return phone.spoke_s

    gaps = [after - before for before, after in pairwise(asyncio.run(scenario()))]
    assert min(gaps) >= 0.05 - 1e-9
    assert len({round(gap, 3) for gap in gaps}) > 5


def test_phones_do_not_start_at_the_same_moment() -> None:
    async def scenario() -> Door:
        async with Door() as door:
            await live(door.url, STEADY, lambda tally: tally.accepted >= 20, count=20)
            return door

    times = [when for when, _, _ in asyncio.run(scenario()).posts]
    assert max(times) - min(times) > 0.1


@pytest.mark.parametrize(
    ("status", "asked"), [(503, {}), (429, {}), (500, {}), (503, {"Retry-After": "2"})]
)
def test_a_message_is_sent_again_as_it_is_when_it_was_not_taken(
    status: int, asked: dict[str, str]
) -> None:
    async def scenario() -> tuple[Door, Tally]:
        async with Door([(status, asked)]) as door:
            return door, await live(door.url, STEADY, lambda _: bool(_bodies_sent_twice(door)))

    door, tally = asyncio.run(scenario())
    [body] = _bodies_sent_twice(door)
    first, second = (when for when, _, sent in door.posts if sent == body)
    assert second - first >= float(asked.get("Retry-After", 1))
    assert (tally.retried, tally.answers[status]) == (1, 1)


def test_a_message_arrives_later_when_the_connection_is_refused_at_first() -> None:
    async def scenario() -> Tally:
        async with AsyncExitStack() as stack:
            door, tally, stop = Door(port=port_choose()), Tally(), asyncio.Event()
            await stack.enter_async_context(asyncio.timeout(LIMIT_S))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            tasks.create_task(
                fleet_run(phones=phones(1), url=door.url, habits=STEADY, tally=tally, stop=stop)
            )
            await _until(lambda: tally.retried > 0)
            await stack.enter_async_context(door)
            await _until(lambda: _times(door) != sorted(_times(door)))
            stop.set()
            return tally

    tally = asyncio.run(scenario())
    assert tally.answers[UNREACHABLE] == tally.retried
    assert tally.given_up == 0


def test_a_message_is_given_up_when_it_was_sent_often_enough() -> None:
    habits = Habits(interval_s=0.2, silent_share=0, duplicate_share=0, retries=0)
    url = f"http://127.0.0.1:{port_choose()}"
    tally = asyncio.run(live(url, habits, lambda tally: tally.given_up >= 3))
    assert tally.retried == tally.accepted == 0
    assert tally.answers[UNREACHABLE] == tally.given_up


def test_a_message_is_not_sent_again_when_it_was_refused_for_good() -> None:
    async def scenario() -> tuple[Door, Tally]:
        async with Door([(401, {})] * 3) as door:
            return door, await live(door.url, STEADY, lambda tally: tally.accepted >= 2)

    door, tally = asyncio.run(scenario())
    assert tally.answers[401] == 3
    assert tally.retried == 0 and not _bodies_sent_twice(door)


def test_messages_are_sent_twice_when_duplicates_are_asked_for() -> None:
    async def scenario() -> Door:
        habits = Habits(interval_s=0.3, silent_share=0, duplicate_share=1)
        async with Door() as door:
            await live(door.url, habits, lambda _: len(_bodies_sent_twice(door)) >= 3, count=3)
            return door

    assert max(Counter(body for _, _, body in asyncio.run(scenario()).posts).values()) == 2


def test_phones_fall_silent_and_return_when_a_share_is_asked_for() -> None:
    async def scenario() -> Door:
        habits = Habits(interval_s=0.05, jitter=0, silent_share=0.5, silent_for_s=0.5)
        async with Door() as door:
            await live(door.url, habits, lambda _: len(_silences(door)) >= 4, count=2)
            return door

    assert all(0.4 < gap < 0.9 for gap in _silences(asyncio.run(scenario())))


@given(
    st.integers(1, 60), st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.floats(1, 100), st.floats(0, 1e5)
)
@settings(max_examples=200, deadline=None)
def test_the_asked_share_is_silent_at_any_time(
    count: int, share: float, for_s: float, at_s: float
) -> None:
    rotation = Rotation(count=count, share=share, for_s=for_s, seed=1)
    until = [rotation.silent_until(index, at_s) for index in range(count)]
    silent = [one for one in until if one is not None]
    assert abs(len(silent) - share * count) <= 1
    assert all(at_s <= one <= at_s + for_s + 1e-6 for one in silent)


def test_nobody_is_silent_when_the_share_is_nought() -> None:
    rotation = Rotation(count=5, share=0, for_s=60, seed=1)
    assert all(rotation.silent_until(i, t) is None for i in range(5) for t in range(600))


def test_a_fleet_is_the_same_when_its_seed_is_the_same() -> None:
    def words(seed: int) -> list[bytes]:
        return [
            phone.heartbeat(at_s=10.0 * turn, time=NOON)
            for turn in range(5)
            for phone in phones(3, seed)
        ]

    assert words(1) == words(1)
    assert words(1) != words(2)


def test_what_a_phone_says_is_valid_all_its_life() -> None:
    [phone] = phones(1)
    said = [
        heartbeat_decode(
            phone.heartbeat(at_s=turn * 10.0, time=NOON + timedelta(seconds=turn * 10)),
            received_at=NOON + timedelta(hours=20),
        )
        for turn in range(5000)
    ]
    named: list[Any] = [dict(zip(NAMES, one.named, strict=True)) for one in said]
    batteries = [one["battery_pct"] for one in named]
    assert min(batteries) < 35 and max(batteries) == 100
    assert {one.vitals["charging"] for one in said} == {True, False}
    assert len({one["rssi_dbm"] for one in named}) > 10
    uptimes = [one["uptime_s"] for one in named]
    assert uptimes[-1] - uptimes[0] == 4999 * 10


def test_the_summary_tells_counts_and_latencies() -> None:
    tally = Tally()
    assert "sent 0, accepted 0, refused 0" in tally.line()
    for latency_ms in range(1, 101):
        tally.note(202, latency_ms=latency_ms)
    tally.note(503, latency_ms=1)
    tally.note(UNREACHABLE, latency_ms=5000)
    line = tally.line()
    assert "sent 102, accepted 100, refused 503 × 1, unreachable × 1" in line
    assert "p50 50.0 ms, p95 95.0 ms" in line


def test_heartbeats_are_stored_when_the_demo_fleet_runs(stack: Stack, tmp_path: Path) -> None:
    demo = tmp_path / "demo.json"
    stack.manage("demo", "--devices=3", f"--write={demo}", f"--ingest-url={stack.ingest_url}")
    line = stack.manage(
        "simulate", f"--demo={demo}", "--interval=1", "--silent-share=0", "--duration=2.5"
    )
    assert "refused 0" in line and "accepted 0" not in line
    assert _heartbeats(stack, "demo") >= 3


def test_keys_are_revoked_when_a_fleet_of_its_own_is_told_to_stop(stack: Stack) -> None:
    stack.manage("shell", "-c", "Tenant.objects.get_or_create(slug='sim', name='Sim')")
    command = [str(BIN / "python"), "manage.py", "simulate", "--tenant=sim", "--create=4"]
    process = subprocess.Popen(
        [*command, "--interval=1", "--silent-share=0", f"--url={stack.ingest_url}"],
        cwd=ROOT,
        env=stack.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    await_condition(lambda: _heartbeats(stack, "sim") >= 4, LIMIT_S, "four heartbeats")
    process.send_signal(signal.SIGTERM)
    line, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "refused 0" in line
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute(
            "SELECT count(*), count(revoked_at) FROM devices_credential WHERE label = 'simulate'"
        ).fetchone()
    assert rows == (4, 4)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def _times(door: Door) -> list[datetime]:
    """What the phones' clocks said, in the order of arrival."""
    now = datetime.now(UTC)
    decoded = [heartbeat_decode(body, received_at=now) for _, _, body in door.posts]
    return [one.time for one in decoded if one.time]


def _bodies_sent_twice(door: Door) -> list[bytes]:
    return [body for body, times in Counter(b for _, _, b in door.posts).items() if times > 1]


def _silences(door: Door) -> list[float]:
    """Gaps of more than four intervals between the posts of one phone, in seconds."""
    gaps = []
    for token in {key for _, key, _ in door.posts}:
        times = sorted(when for when, key, _ in door.posts if key == token)
        gaps += [b - a for a, b in pairwise(times) if b - a > 0.2]
    return gaps


def _heartbeats(stack: Stack, tenant: str) -> int:
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM telemetry_heartbeat h JOIN devices_tenant t "
            "ON t.id = h.tenant_id WHERE t.slug = %s",
            [tenant],
        ).fetchone()
    assert row is not None
    return int(row[0])
