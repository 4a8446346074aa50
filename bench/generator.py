"""Posts heartbeats or single readings as fast as the server accepts them, or at a steady rate.

It is a separate process (`python -m bench.generator`, with a Job on stdin and a Result on stdout)
so that it can have its own core. It uses bare asyncio protocols instead of an HTTP library, because
a slow generator would measure itself. The result says how much of its core it used, to prove that
it did not.
"""

import asyncio
import time
from collections import Counter, deque
from itertools import cycle
from typing import cast

from msgspec import Struct

from bench.child import child_main, child_run

ANSWERS_WITHIN_S = 30


class Message(Struct):
    """A message's path, and its JSON with a placeholder for its `time` in seconds."""

    path: str
    body: str


HEARTBEAT = Message(
    "/api/v1/heartbeats",
    '{"time":%.6f,"battery_pct":71.5,"rssi_dbm":-71,"uptime_s":86400,"version":"4.2.0",'
    '"charging":false,"cpu_pct":31.5}',
)
READING = Message(
    "/api/v1/readings",
    '{"time":%.6f,"seq":7,'
    '"metrics":{"temp_c":21.5,"humidity_pct":40.25,"battery_pct":77,"rssi_dbm":-71}}',
)


class Job(Struct):
    """What to post: `message` with each of `tokens` in turn, over `connections` that stay open and
    carry one request at a time.

    With `rate_per_s`, messages are due at a steady rate: `time` and latency count from when a
    message was due, even if it was sent later. Without it, a connection posts as soon as its last
    request was answered.
    """

    host: str
    port: int
    message: Message
    tokens: list[str]
    connections: int
    duration_s: float
    rate_per_s: float = 0
    cores: list[int] = []


class Result(Struct):
    """What happened: `began_at` is a Unix time, `cpu_share` the share of one core."""

    began_at: float
    elapsed_s: float
    statuses: dict[int, int]
    latencies_ms: list[float]
    cpu_share: float


class Connection(asyncio.Protocol):
    """A kept-alive connection that carries one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._due_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail(error or ConnectionError("the server closed a connection"))

    def post(self, request: bytes, due_at: float) -> None:
        assert self._transport is not None
        self._due_at = due_at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if _is_whole(self._received):
            status = int(self._received[9:12])
            self._received = b""
            self._load.answered(status, self._due_at)
            self._load.ready(self)


class Load:
    """Hands requests to connections and counts answers; subclasses decide when to post."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.statuses: Counter[int] = Counter()
        self.latencies_ms: list[float] = []
        self.waiting = 0
        self._heads = cycle(_heads(job))
        self._body = job.message.body.encode()
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Result:
        job, loop = self.job, asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(lambda: Connection(self), job.host, job.port))[1]
            for _ in range(job.connections)
        ]
        began_at, cpu_s = time.time(), time.process_time()
        self.begin(began_at)
        for connection in connections:
            self.ready(connection)
        async with asyncio.timeout(job.duration_s + ANSWERS_WITHIN_S):
            await self._finished
        elapsed_s = time.time() - began_at
        cpu_share = (time.process_time() - cpu_s) / elapsed_s
        return Result(began_at, elapsed_s, dict(self.statuses), self.latencies_ms, cpu_share)

    def begin(self, began_at: float) -> None:
        raise NotImplementedError

    def ready(self, connection: Connection) -> None:
        """Called when a connection may post; finishes the load if nothing is left to do."""
        raise NotImplementedError

    def post(self, connection: Connection, due_at: float) -> None:
        self.waiting += 1
        connection.post(next(self._heads) + self._body % due_at, due_at)

    def answered(self, status: int, due_at: float) -> None:
        self.waiting -= 1
        self.statuses[status] += 1
        self.latencies_ms.append(1000 * (time.time() - due_at))

    def finish(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self._finished.done():
            self._finished.set_exception(error)


class Flood(Load):
    """As fast as the server answers."""

    def begin(self, began_at: float) -> None:
        self._ends_at = began_at + self.job.duration_s

    def ready(self, connection: Connection) -> None:
        now = time.time()
        if now < self._ends_at:
            self.post(connection, now)
        elif not self.waiting:
            self.finish()


class Pace(Load):
    """At a steady rate, whether the server keeps up or not."""

    def begin(self, began_at: float) -> None:
        self._began_at = began_at
        self._turn = 0
        self._turns = round(self.job.duration_s * self.job.rate_per_s)
        self._idle: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._tick()

    def ready(self, connection: Connection) -> None:
        if self._due:
            self.post(connection, self._due.popleft())
            return
        self._idle.append(connection)
        if self._turn == self._turns and not self.waiting:
            self.finish()

    def _tick(self) -> None:
        """Queues the messages that are due now, and schedules itself for the next one."""
        while self._turn < self._turns and self._due_at(self._turn) <= time.time():
            self._due.append(self._due_at(self._turn))
            self._turn += 1
        while self._due and self._idle:
            self.post(self._idle.popleft(), self._due.popleft())
        if self._turn < self._turns:
            wait_s = self._due_at(self._turn) - time.time()
            asyncio.get_running_loop().call_later(max(0.0, wait_s), self._tick)

    def _due_at(self, turn: int) -> float:
        return self._began_at + turn / self.job.rate_per_s


async def load_run(job: Job) -> Result:
    """Does the job in a separate process; returns what happened."""
    return await child_run("bench.generator", job, Result)


def _heads(job: Job) -> list[bytes]:
    length = len(job.message.body % time.time())
    return [
        (
            f"POST {job.message.path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()
        for token in job.tokens
    ]


def _is_whole(data: bytes) -> bool:
    """Whether this is a complete response. ValueError if it has no Content-Length."""
    head_ends = data.find(b"\r\n\r\n")
    if head_ends < 0:
        return False
    at = data.index(b"ontent-length:", 0, head_ends)
    return len(data) >= head_ends + 4 + int(data[at + 14 : data.index(b"\r\n", at)])


async def _main(job: Job) -> Result:
    return await (Pace(job) if job.rate_per_s else Flood(job)).run()


if __name__ == "__main__":
    child_main(Job, _main)
