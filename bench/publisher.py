"""Publishes readings over MQTT 5 with QoS 1, at a steady rate.

It is a separate process and uses bare asyncio protocols, for the reasons given in bench.generator.
It implements only the MQTT that it needs: CONNECT, PUBLISH and the broker's answers to them.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from typing import cast

from msgspec import Struct

from bench.child import child_main, child_run

CONNACK, PUBACK = 2, 4
REFUSED_FROM = 0x80  # reason codes
ANSWERS_WITHIN_S = 60
TICK_S = 0.002
USERNAME_PASSWORD_CLEAN = 0xC2
PAYLOAD = (
    '{"time":%.6f,"site_id":"%s","seq":%d,'
    '"metrics":{"temp_c":21.5,"humidity_pct":40.25,"battery_pct":77,"rssi_dbm":-71}}'
)


class Job(Struct):
    """Readings on these topics in turn, `rate_per_s` in total, over `connections` with at most
    `window` unacknowledged messages each, for `duration_s` seconds. All have `site`, and their
    `seq` counts from 0."""

    host: str
    port: int
    username: str
    password: str
    topics: list[str]
    site: str
    connections: int
    window: int
    rate_per_s: float
    duration_s: float
    cores: list[int] = []


class Result(Struct):
    """`acknowledged` counts the messages that the broker accepted, which are all that were
    published; `cpu_share` is the share of one core."""

    began_at: float
    elapsed_s: float
    acknowledged: int
    cpu_share: float


async def publish_run(job: Job) -> Result:
    """Does the job in a separate process; returns what was acknowledged."""
    return await child_run("bench.publisher", job, Result)


class _Connection(asyncio.Protocol):
    """One connection, and the packet ids that it may use next."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._received = b""
        self._free: deque[int] = deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_connect(self._load.job))

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail(error or ConnectionError("the broker closed a connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (packet := self._next_packet()) is not None:
            self._answered(packet)

    def publish(self, most: int) -> int:
        """Publishes up to `most` messages; returns how many."""
        assert self._transport is not None
        number = min(most, len(self._free))
        if number:
            messages = [self._load.message(self._free.popleft()) for _ in range(number)]
            self._transport.write(b"".join(messages))
        return number

    def _next_packet(self) -> bytes | None:
        """The next complete packet, if any; the broker's packets are shorter than 128 bytes."""
        received = self._received
        if len(received) < 2 or len(received) < 2 + received[1]:
            return None
        self._received = received[2 + received[1] :]
        return received[: 2 + received[1]]

    def _answered(self, packet: bytes) -> None:
        load, kind = self._load, packet[0] >> 4
        reason = packet[3] if kind == CONNACK else packet[4] if len(packet) > 4 else 0
        if kind not in (CONNACK, PUBACK) or reason >= REFUSED_FROM:
            load.fail(ConnectionError(f"the broker answered {packet.hex()}"))
        elif kind == CONNACK:
            self._free.extend(range(1, load.job.window + 1))
        else:
            self._free.append(int.from_bytes(packet[2:4]))
            load.acknowledged += 1


class _Load:
    def __init__(self, job: Job) -> None:
        self.job = job
        self._topics = [_text(topic) for topic in job.topics]
        self._published = self.acknowledged = 0
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Result:
        job, loop = self.job, asyncio.get_running_loop()
        began_at, cpu_s = time.time(), time.process_time()
        connections = [
            (await loop.create_connection(lambda: _Connection(self), job.host, job.port))[1]
            for _ in range(job.connections)
        ]
        async with asyncio.timeout(job.duration_s + ANSWERS_WITHIN_S):
            await self._publish(connections, began_at)
        elapsed_s = time.time() - began_at
        cpu_share = (time.process_time() - cpu_s) / elapsed_s
        return Result(began_at, elapsed_s, self.acknowledged, cpu_share)

    def message(self, number: int) -> bytes:
        """The next message, with this packet id."""
        turn, self._published = self._published, self._published + 1
        topic = self._topics[turn % len(self._topics)]
        payload = (PAYLOAD % (time.time(), self.job.site, turn)).encode()
        return _packet(0x32, topic + number.to_bytes(2) + b"\0" + payload)

    def fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _publish(self, connections: Sequence[_Connection], began_at: float) -> None:
        """Publishes what is due, one connection after another; returns when all is acknowledged."""
        job, turns = self.job, cycle(connections)
        while (elapsed_s := time.time() - began_at) < job.duration_s or self._is_waiting():
            if self._failed.done():
                self._failed.result()
            due = int(job.rate_per_s * min(elapsed_s, job.duration_s)) - self._published
            for _ in connections:
                due -= next(turns).publish(due)
            next(turns)
            await asyncio.sleep(TICK_S)

    def _is_waiting(self) -> bool:
        return self.acknowledged < self._published


def _connect(job: Job) -> bytes:
    """A CONNECT packet without keep-alive or properties; the broker assigns the client id."""
    head = _text("MQTT") + bytes((5, USERNAME_PASSWORD_CLEAN, 0, 0, 0))
    return _packet(0x10, head + _text("") + _text(job.username) + _text(job.password))


def _packet(first: int, rest: bytes) -> bytes:
    length, size = len(rest), bytearray()
    while length > 127:
        size.append(length % 128 | 128)
        length //= 128
    return bytes((first, *size, length)) + rest


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


async def _main(job: Job) -> Result:
    return await _Load(job).run()


if __name__ == "__main__":
    child_main(Job, _main)
