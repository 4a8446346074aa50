"""Readings over MQTT with QoS 1: how many are stored per second while the bridge is killed.

They are published through a real mosquitto and received by one bridge, which is killed with SIGKILL
and started again three times. The clock stops when everything that the broker acknowledged is
stored; each message must be in the table exactly once.
"""

import asyncio
import time

import psycopg

from bench.publisher import Job, Result, publish_run
from bench.report import Figure
from bench.subject import Subject
from scripts.bridges import Bridges
from scripts.mosquitto import Mosquitto
from scripts.waiting import await_condition

DEVICES = 2000
CONNECTIONS = 4
WINDOW = 100
# More than must be stored, and about what is stored while no bridge is killed. A larger backlog
# would slow the broker down, which writes all of it to disk every 5 s.
RATE_PER_S = 10_000
DURATION_S = 30
KILLS = 3
SITE = "mqtt-bench"
STORED_WITHIN_S = 300
MUST_PER_S = 5000


async def measure(subject: Subject) -> list[Figure]:
    Mosquitto.erase(subject.stack.state)
    bridges = Bridges(subject.stack)
    bridges.up()
    try:
        before = _stored(subject)
        result, _ = await asyncio.gather(publish_run(_job(subject, bridges)), _kill(bridges))
        await_condition(
            lambda: _stored(subject) - before >= result.acknowledged,
            STORED_WITHIN_S,
            "everything that was acknowledged to be stored",
        )
        elapsed_s = time.time() - result.began_at
    finally:
        bridges.down()
    _verify(subject, result)
    return [
        Figure(
            name="MQTT messages stored, QoS 1",
            value=result.acknowledged / elapsed_s,
            unit="/s",
            must=MUST_PER_S,
            how=f"{RATE_PER_S:,}/s published; {result.acknowledged:,} acknowledged in "
            f"{result.elapsed_s:.0f} s, each stored "
            f"once after {elapsed_s:.1f} s; bridge killed {KILLS} times; publisher "
            f"{result.cpu_share:.0%} of a core",
        )
    ]


async def _kill(bridges: Bridges) -> None:
    """Kills the bridge at regular intervals and starts it again, as a supervisor does."""
    for _ in range(KILLS):
        await asyncio.sleep(DURATION_S / (KILLS + 1))
        bridges.kill("1")
        bridges.launch("1")


def _job(subject: Subject, bridges: Bridges) -> Job:
    demo = subject.demo
    _, prefix, _ = demo.gateway_key.split("_")
    return Job(
        host="127.0.0.1",
        port=bridges.broker.port,
        username=f"{demo.tenant}/gateway/{prefix}",
        password=demo.gateway_key,
        topics=[
            f"tenant/{demo.tenant}/device/{one.device_id}/telemetry"
            for one in demo.devices[:DEVICES]
        ],
        site=SITE,
        connections=CONNECTIONS,
        window=WINDOW,
        rate_per_s=RATE_PER_S,
        duration_s=DURATION_S,
    )


def _stored(subject: Subject) -> int:
    """The number of stored messages of the demo tenant, by the ledger."""
    statement = (
        "SELECT coalesce(sum(stored), 0)::bigint FROM ingest_ledgerminute WHERE tenant_id = "
        "(SELECT id FROM devices_tenant WHERE slug = %s)"
    )
    return _row(subject, statement, subject.demo.tenant)[0]


def _verify(subject: Subject, result: Result) -> None:
    """RuntimeError unless the table has each acknowledged message once, and nothing else."""
    statement = "SELECT count(*), count(DISTINCT seq) FROM telemetry_reading WHERE site = %s"
    found = _row(subject, statement, SITE)
    if found != (result.acknowledged, result.acknowledged):
        raise RuntimeError(f"of {result.acknowledged} acknowledged messages {found} are stored")


def _row(subject: Subject, statement: str, value: str) -> tuple[int, ...]:
    with psycopg.connect(subject.stack.database_url) as connection:
        row = connection.execute(statement, (value,)).fetchone()
    assert row is not None
    return row
