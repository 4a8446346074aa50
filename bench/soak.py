"""Sends 20,000 readings per second for a long time, to see whether memory grows.

This is the load of 100,000 devices with a message every 5 s, sent through four gateways. The
resident memory of the ingest server and of the drain is read after a minute, when their caches are
full, and at the end of the load.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.batches import batches_run
from bench.processes import memory_mb, stack_processes
from bench.readings import gateways_add
from bench.report import Better, Figure
from bench.subject import Subject, oldest_waiting_s

DEVICES = 100_000
RATE_PER_S = 20_000
SETTLED_AFTER_S = 60
PARTS = ("ingest", "drain")
MUST_GROW_PCT = 5
LOOK_EVERY_S = 1.0


class Watched(NamedTuple):
    """Resident memory of the parts in MB, early and at the end, and the longest wait seen."""

    early: Mapping[str, float]
    late: Mapping[str, float]
    oldest_waiting_s: float


async def measure(subject: Subject) -> list[Figure]:
    gateways = gateways_add(subject.stack, DEVICES)
    job = gateways.job(duration_s=subject.soak_s, rate_per_s=RATE_PER_S)
    result, watched = await asyncio.gather(batches_run(job), _watch(subject))
    elapsed_s = gateways.await_stored(result)
    load = (
        f"{result.accepted:,} acknowledged in {result.elapsed_s:.0f} s, each stored once after "
        f"{elapsed_s:.1f} s, residual 0"
    )
    return [
        *(_growth(part, watched, subject.soak_s) for part in PARTS),
        Figure(
            name="… readings accepted meanwhile",
            value=result.accepted / result.elapsed_s,
            unit="/s",
            must=0.98 * RATE_PER_S,
            how=load,
        ),
        Figure(
            name="… longest wait to be stored",
            value=watched.oldest_waiting_s,
            unit="s",
            better=Better.LOWER,
            how=f"checked every {LOOK_EVERY_S:.0f} s",
        ),
    ]


def _growth(part: str, watched: Watched, soak_s: float) -> Figure:
    early, late = watched.early[part], watched.late[part]
    return Figure(
        name=f"growth of the {part}'s memory at {RATE_PER_S:,} readings/s",
        value=100 * (late / early - 1),
        unit="%",
        better=Better.LOWER,
        must=MUST_GROW_PCT,
        how=f"RSS {early:.0f} MB after {_settled_after_s(soak_s):.0f} s, {late:.0f} MB after "
        f"{soak_s:.0f} s",
    )


async def _watch(subject: Subject) -> Watched:
    """Watches until just before the load ends."""
    valkey, began_at = subject.valkey(), time.monotonic()
    early: Mapping[str, float] = {}
    waits_s: list[float] = []
    while (elapsed_s := time.monotonic() - began_at) < subject.soak_s - LOOK_EVERY_S:
        waits_s.append(oldest_waiting_s(valkey))
        if not early and elapsed_s >= _settled_after_s(subject.soak_s):
            early = _resident_mb(subject)
        await asyncio.sleep(LOOK_EVERY_S)
    return Watched(early, _resident_mb(subject), max(waits_s))


def _settled_after_s(soak_s: float) -> float:
    return min(SETTLED_AFTER_S, soak_s / 2)


def _resident_mb(subject: Subject) -> dict[str, float]:
    processes = stack_processes(subject.stack)
    return {part: _rss_mb(processes[part]) for part in PARTS}


def _rss_mb(pids: Sequence[int]) -> float:
    _, rss = memory_mb(pids)
    return rss
