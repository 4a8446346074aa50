"""Posts readings in batches, as gateways do; a process of its own, as bench.generator is.

The messages are made here, so what making them costs is part of what the machine does meanwhile.
"""

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from itertools import count

import msgspec
from msgspec import Struct

MESSAGE = (
    '{"device_id":"d%d","time":"%s","seq":%d,'
    '"metrics":{"temp_c":21.5,"humidity_pct":40.25,"battery_pct":77,"rssi_dbm":-71}}'
)
RETRY_AFTER_S = 0.2


class Job(Struct):
    """Batches of `size` readings of `devices` devices of each tenant in turn, one gateway key a
    tenant, over `connections` for `duration_s` seconds."""

    host: str
    port: int
    keys: list[str]
    devices: int
    size: int
    connections: int
    duration_s: float
    cores: list[int] = []


class Result(Struct):
    """`accepted` is what the server said that it accepted; `cpu_share` is of one core."""

    began_at: float
    elapsed_s: float
    accepted: int
    statuses: dict[int, int]
    cpu_share: float


class _Answer(Struct):
    accepted: int


async def batches_run(job: Job) -> Result:
    """Does the job in a process of its own and returns what was acknowledged."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.batches"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(msgspec.json.encode(job))
    if process.returncode != 0:
        raise RuntimeError("the generator failed")
    return msgspec.json.decode(output, type=Result)


class _Load:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.accepted = 0
        self.statuses: dict[int, int] = {}
        self._turns = count()
        self._ends_at = 0.0

    async def run(self) -> Result:
        began_at, cpu_s = time.time(), time.process_time()
        self._ends_at = began_at + self.job.duration_s
        await asyncio.gather(*(self._client() for _ in range(self.job.connections)))
        elapsed_s = time.time() - began_at
        cpu_share = (time.process_time() - cpu_s) / elapsed_s
        return Result(began_at, elapsed_s, self.accepted, self.statuses, cpu_share)

    async def _client(self) -> None:
        reader, writer = await asyncio.open_connection(self.job.host, self.job.port)
        while time.time() < self._ends_at:
            writer.write(self._request())
            status, body = await _response(reader)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 202:
                self.accepted += msgspec.json.decode(body, type=_Answer).accepted
            else:
                await asyncio.sleep(RETRY_AFTER_S)
        writer.close()

    def _request(self) -> bytes:
        job, turn = self.job, next(self._turns)
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


if __name__ == "__main__":
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_Load(job).run())))
