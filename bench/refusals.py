"""One device floods the door with messages that are refused: what it costs, and whom.

For FLOOD_S seconds it posts batches of 100 invalid readings as fast as it can, while other devices
post good heartbeats. The same heartbeats without the flood, before and after it, are the measure.
"""

import asyncio

import psycopg

from bench.accept import accepted_per_s, pinned_apart
from bench.generator import Job, Message, load_run
from bench.processes import memory_mb, stack_processes
from bench.report import Better, Figure, percentile
from bench.subject import Subject
from scripts.waiting import await_condition

DEVICES = 2000
CONNECTIONS = 16
FLOOD_CONNECTIONS = 4
FLOOD_S = 30
ALONE_S = 10
BATCH = 100
FIELDS = 20
# A window of a minute for each of five fields and for the others; 30 s are in two minutes at most.
MUST_ROWS = 12
AIM_RATIO = 0.7
MUST_MB = 20
COLLECTED_WITHIN_S = 30

# None has a value that can be stored, each under another name than the ones before it. The time
# stands in the last one, for the generator.
BAD = ",".join(
    f'{{"seq":{n},"metrics":{{"metric_{n % FIELDS}":[1]}},"token":"hush-{n}"}}'
    for n in range(BATCH - 1)
)
FLOOD = Message("/api/v1/readings", f'[{BAD},{{"time":%.6f,"metrics":{{}}}}]')


async def measure(subject: Subject) -> list[Figure]:
    with pinned_apart(subject):
        before = await _heartbeats(subject, ALONE_S)
        memory_before, _ = _memory_mb(subject)
        rows_before = _rows(subject)
        flood, beside = await asyncio.gather(
            load_run(_flood(subject)), _heartbeats(subject, FLOOD_S)
        )
        memory_after, _ = _memory_mb(subject)
        subject.await_drained()
        after = await _heartbeats(subject, ALONE_S)
    if set(flood.statuses) != {400}:
        raise RuntimeError(f"not everything was refused: {flood.statuses}")
    refused = BATCH * flood.statuses[400]
    await_condition(
        lambda: _refused(subject) >= refused, COLLECTED_WITHIN_S, "the refusals to be collected"
    )
    rows = _rows(subject) - rows_before
    alone = max(before, after)
    return [
        Figure(
            name="good heartbeats beside a flood of refused messages",
            value=beside / alone,
            unit="×",
            aim=AIM_RATIO,
            how=f"{beside:,.0f}/s of {alone:,.0f}/s; the flood: {refused / flood.elapsed_s:,.0f} "
            f"messages/s in batches of {BATCH} over {FLOOD_CONNECTIONS} connections, p95 "
            f"{percentile(flood.latencies_ms, 0.95):.0f} ms",
        ),
        Figure(
            name="… rows written about them",
            value=rows,
            unit="rows",
            better=Better.LOWER,
            must=MUST_ROWS,
            how=f"{refused:,} messages refused in {flood.elapsed_s:.0f} s, each counted",
        ),
        Figure(
            name="… memory that the ingest process has more afterwards, PSS",
            value=memory_after - memory_before,
            unit="MB",
            better=Better.LOWER,
            must=MUST_MB,
            how=f"{memory_before:.0f} MB before, {memory_after:.0f} MB after",
        ),
    ]


async def _heartbeats(subject: Subject, duration_s: float) -> float:
    """Good heartbeats accepted per second, from devices other than the one that floods."""
    phones = slice(1, DEVICES + 1)
    job = subject.job(phones=phones, connections=CONNECTIONS, duration_s=duration_s)
    return accepted_per_s(await load_run(job))


def _flood(subject: Subject) -> Job:
    return subject.job(
        phones=slice(1), connections=FLOOD_CONNECTIONS, duration_s=FLOOD_S, message=FLOOD
    )


def _memory_mb(subject: Subject) -> tuple[float, float]:
    return memory_mb(stack_processes(subject.stack)["ingest"])


def _rows(subject: Subject) -> int:
    return _asked(subject, "SELECT count(*) FROM ingest_refusal")


def _refused(subject: Subject) -> int:
    return _asked(subject, "SELECT coalesce(sum(count), 0) FROM ingest_refusal")


def _asked(subject: Subject, statement: str) -> int:
    with psycopg.connect(subject.stack.database_url) as connection:
        row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
