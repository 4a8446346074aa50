"""The delay from the POST to the committed row.

Every heartbeat has as its `time` the moment when it was due to be posted. During the load, another
connection asks the database every few milliseconds for the oldest running transaction
(pg_snapshot_xmin(pg_current_snapshot())). A row is visible as soon as its transaction (`xmin`) is
older than that. So measuring adds no work to what is measured. A delay is never measured too short,
but may be too long by the interval between two looks, or by an older transaction that ends later.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import psycopg

from bench.accept import accepted_per_s
from bench.generator import load_run
from bench.report import Better, Figure, percentile
from bench.subject import Subject

RATE_PER_S = 500
DURATION_S = 20
# Each device posts once and has never posted before: a second heartbeat within 10 s would be a
# duplicate.
DEVICES = RATE_PER_S * DURATION_S
PHONES = slice(-DEVICES, None)
CONNECTIONS = 64
POLL_S = 0.003
SEEN_WITHIN_S = 60
MUST_S = 1.0

ROWS = """
SELECT extract(epoch FROM time)::float8, xmin::text::bigint
FROM telemetry_heartbeat WHERE received_at >= to_timestamp(%s)
"""


class Look(NamedTuple):
    """The oldest transaction that was still running at a Unix time."""

    at: float
    oldest_running: int


async def measure(subject: Subject) -> list[Figure]:
    job = subject.job(
        phones=PHONES, connections=CONNECTIONS, duration_s=DURATION_S, rate_per_s=RATE_PER_S
    )
    looks: list[Look] = []
    watching = asyncio.create_task(_watch(subject.stack.database_url, looks))
    result = await load_run(job)
    accepted_per_s(result)
    await asyncio.to_thread(subject.await_drained)
    rows = _rows(subject.stack.database_url, result.began_at)
    if len(rows) != DEVICES:
        raise RuntimeError(f"{DEVICES} heartbeats were accepted, {len(rows)} are stored")
    # Until every transaction has ended that began before the last row was committed.
    newest = max(xid for _, xid in rows)
    async with asyncio.timeout(SEEN_WITHIN_S):
        while looks[-1].oldest_running <= newest:
            await asyncio.sleep(POLL_S)
    watching.cancel()
    delays_s = _delays_s(rows, looks)
    gap_ms = 1000 * percentile([b.at - a.at for a, b in pairwise(looks)], 0.95)
    return [
        Figure(
            name=f"POST to committed row at {RATE_PER_S}/s, p95",
            value=percentile(delays_s, 0.95),
            unit="s",
            better=Better.LOWER,
            must=MUST_S,
            how=(
                f"{DURATION_S} s, {DEVICES:,} devices, all stored; p50 "
                f"{percentile(delays_s, 0.5):.3f} s, longest {max(delays_s):.3f} s, "
                f"resolution {gap_ms:.0f} ms; answer p95 "
                f"{percentile(result.latencies_ms, 0.95):.0f} ms"
            ),
        )
    ]


async def _watch(url: str, looks: list[Look]) -> None:
    """Adds to `looks` until it is cancelled."""
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    async with connection, connection.cursor() as cursor:
        while True:
            await cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            row = await cursor.fetchone()
            assert row is not None
            looks.append(Look(time.time(), row[0]))
            await asyncio.sleep(POLL_S)


def _rows(url: str, since: float) -> list[tuple[float, int]]:
    with psycopg.connect(url) as connection:
        return connection.execute(ROWS, [since]).fetchall()


def _delays_s(rows: Sequence[tuple[float, int]], looks: Sequence[Look]) -> list[float]:
    """For each row (due at, transaction), how long after it was due it became visible."""
    oldest = [look.oldest_running for look in looks]
    return [looks[bisect_right(oldest, xid)].at - due_at for due_at, xid in rows]
