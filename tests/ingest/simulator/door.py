"""A small HTTP server to which simulated phones post."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from aiohttp import web

from ingest.messages.heartbeat import heartbeat_decode
from ingest.simulator.fleet import fleet_run
from ingest.simulator.habits import Habits
from ingest.simulator.phone import Phone
from ingest.simulator.tally import Tally
from tests.waits import LIMIT_S

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STEADY = Habits(interval_s=0.2, jitter=0, silent_share=0, duplicate_share=0)


class Door:
    """A server that records each post as (when in s, key, body) and returns the `answers`, pairs of
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
    """Records when it should post, in seconds since the fleet started."""

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
    """Runs `count` phones, or the given ones, until the condition holds."""
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


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def _times(door: Door) -> list[datetime]:
    """The phones' own times, in order of arrival."""
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
