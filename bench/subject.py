"""What is measured: a running stack with a fleet of phones and their keys."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis
from msgspec import Struct

from bench import machine
from bench.generator import HEARTBEAT, Job, Message
from scripts.stack import Stack
from scripts.waiting import await_condition

STREAMS = "ingest:{*}"  # one per shard
DRAINED_WITHIN_S = 120
DEVICES = 12_000


class Phone(Struct):
    device_id: str
    token: str


class Demo(Struct):
    """The fields used from the file that `manage.py demo` writes."""

    admin_user: str
    admin_password: str
    tenant: str
    gateway_key: str
    devices: list[Phone]


@dataclass
class Subject:
    """The stack and its demo tenant.

    `soak_s` is the duration of bench.soak. The ingest process has `ingest_cores` for itself; the
    generator and everything else share `other_cores`. On a machine with one core, all share it.
    """

    stack: Stack
    demo: Demo
    soak_s: float
    ingest_cores: Sequence[int] = field(default_factory=lambda: machine.cores()[:1])
    other_cores: Sequence[int] = field(
        default_factory=lambda: machine.cores()[1:] or machine.cores()
    )

    def job(
        self,
        *,
        phones: slice,
        connections: int,
        duration_s: float,
        rate_per_s: float = 0,
        url: str = "",
        message: Message = HEARTBEAT,
    ) -> Job:
        """Messages from these phones to the ingest server, or to `url`."""
        address = urlsplit(url or self.stack.ingest_url)
        return Job(
            host=address.hostname or "",
            port=address.port or 80,
            message=message,
            tokens=[one.token for one in self.demo.devices[phones]],
            connections=connections,
            duration_s=duration_s,
            rate_per_s=rate_per_s,
            cores=list(self.other_cores),
        )

    def await_drained(self) -> None:
        """Returns when everything that was accepted is stored."""
        await_condition(
            partial(_is_empty, self.valkey()), DRAINED_WITHIN_S, "the drain to empty the stream"
        )

    def valkey(self) -> redis.Redis:
        """A client of the stack's Valkey."""
        return redis.Redis.from_url(self.stack.env["VALKEY_URL"])


def oldest_waiting_s(valkey: redis.Redis) -> float:
    """How long the oldest entry in the stream has waited, in seconds; 0 if the stream is empty."""
    firsts: list[Any] = [valkey.xrange(stream, count=1) for stream in _streams(valkey)]
    accepted_at = [int(one[0][0].split(b"-")[0]) / 1000 for one in firsts if one]
    return max((time.time() - at for at in accepted_at), default=0.0)


def subject_prepare(stack: Stack, *, soak_s: float) -> Subject:
    """Adds DEVICES phones to the stack."""
    file = stack.state / "demo.json"
    stack.manage("demo", f"--devices={DEVICES}", f"--write={file}")
    return Subject(stack, msgspec.json.decode(file.read_bytes(), type=Demo), soak_s)


def _is_empty(valkey: redis.Redis) -> bool:
    return not any(valkey.xlen(stream) for stream in _streams(valkey))


def _streams(valkey: redis.Redis) -> Iterator[Any]:
    return valkey.scan_iter(match=STREAMS, _type="stream")
