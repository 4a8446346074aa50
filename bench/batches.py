"""Posts readings in batches, as gateways do; a separate process, like bench.generator.

It builds the messages while it runs, so that cost is part of the machine's load.
"""

import asyncio
import time
from datetime import UTC, datetime
from itertools import count

import msgspec
from msgspec import Struct

from bench.child import child_main, child_run

MESSAGE = (
    '{"device_id":"d%d","time":"%s","seq":%d,'
    '"metrics":{"temp_c":21.5,"humidity_pct":40.25,"battery_pct":77,"rssi_dbm":-71}}'
)
RETRY_AFTER_S = 0.2


class Job(Struct):
    """Batches of `size` readings, for `devices` devices of each tenant in turn, with one gateway
    key per tenant, over `connections` for `duration_s` seconds. Sent as fast as the server accepts
    them, or at most `rate_per_s` readings per second."""

    host: str
    port: int
    keys: list[str]
    devices: int
    size: int
    connections: int
    duration_s: float
    rate_per_s: float = 0
    cores: list[int] = []


class Result(Struct):
    """`accepted` counts the readings that the server accepted, by its own answers; `turns` are the
    `seq` of the accepted batches; `cpu_share` is the share of one core."""

    began_at: float
    elapsed_s: float
    accepted: int
    turns: list[int]
    statuses: dict[int, int]
    cpu_share: float


class _Answer(Struct):
    accepted: int


async def batches_run(job: Job) -> Result:
    """Does the job in a separate process; returns what was acknowledged."""
    return await child_run("bench.batches", job, Result)


class _Load:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.accepted = 0
        self.turns: list[int] = []
        self.statuses: dict[int, int] = {}
        self._turns = count()
        self._began_at = self._ends_at = 0.0

    async def run(self) -> Result:
        began_at, cpu_s = time.time(), time.process_time()
        self._began_at, self._ends_at = began_at, began_at + self.job.duration_s
        await asyncio.gather(*(self._client() for _ in range(self.job.connections)))
        elapsed_s = time.time() - began_at
        cpu_share = (time.process_time() - cpu_s) / elapsed_s
        return Result(began_at, elapsed_s, self.accepted, self.turns, self.statuses, cpu_share)

    async def _client(self) -> None:
        reader, writer = await asyncio.open_connection(self.job.host, self.job.port)
        while time.time() < self._ends_at:
            turn = next(self._turns)
            await self._due(turn)
            writer.write(self._request(turn))
            status, body = await _response(reader)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 202:
                self.accepted += msgspec.json.decode(body, type=_Answer).accepted
                self.turns.append(turn)
            else:
                await asyncio.sleep(RETRY_AFTER_S)
        writer.close()

    async def _due(self, turn: int) -> None:
        if self.job.rate_per_s:
            due_at = self._began_at + turn * self.job.size / self.job.rate_per_s
            await asyncio.sleep(max(0.0, due_at - time.time()))

    def _request(self, turn: int) -> bytes:
        job = self.job
        round_, tenant = divmod(turn, len(job.keys))
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        first = round_ * job.size
        body = ",".join(
            MESSAGE % ((first + n) % job.devices + 1, now, turn) for n in range(job.size)
        )
        return (
            f"POST /api/v1/readings HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n"
            f"Authorization: Bearer {job.keys[tenant]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body) + 2}\r\n\r\n[{body}]"
        ).encode()


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + 15
    body = await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
    return int(head[9:12]), body


async def _main(job: Job) -> Result:
    return await _Load(job).run()


if __name__ == "__main__":
    child_main(Job, _main)
