"""Measures the memory of the whole stack while it is idle.

Adds up the resident memory of every process and its children, including PostgreSQL and Valkey,
from /proc/<pid>/smaps_rollup. PSS divides shared pages between the processes, so the sum is what
the machine really uses; RSS counts them in every process.
"""

import asyncio

from bench.processes import memory_mb, stack_processes
from bench.report import Better, Figure
from scripts.stack import Stack

SETTLED_AFTER_S = 10
MUST_MB = 750


async def measure(stack: Stack) -> list[Figure]:
    """Measures a stack; call it before the first request."""
    await asyncio.sleep(SETTLED_AFTER_S)
    parts = {name: memory_mb(pids) for name, pids in stack_processes(stack).items()}
    return [
        Figure(
            name="idle memory of the whole stack, PSS",
            value=sum(pss for pss, _ in parts.values()),
            unit="MB",
            better=Better.LOWER,
            must=MUST_MB,
            how=", ".join(f"{name} {pss:.0f}" for name, (pss, _) in parts.items()),
        ),
        Figure(
            name="idle memory of the whole stack, RSS",
            value=sum(rss for _, rss in parts.values()),
            unit="MB",
            how=", ".join(f"{name} {rss:.0f}" for name, (_, rss) in parts.items()),
        ),
    ]
