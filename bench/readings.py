"""How many readings are stored per second, end to end, compared with bare COPY.

Gateways in four tenants post batches of 500. The clock stops when the backlog is empty and the
ledger counts every accepted reading as stored. Generator, ingest, worker, Valkey and PostgreSQL
share the machine's cores. Right afterwards, bare COPY and the earlier system's executemany writer
fill the same hypertable, so that ratios can be compared.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from bench.batches import Job, Result, batches_run
from bench.report import Figure
from bench.subject import Subject
from scripts.stack import Stack
from scripts.waiting import await_condition

TENANTS = 4
BATCH = 500
CONNECTIONS = 4
ROUND_S = 60
BASELINE_S = 10
COPY_ROWS = 5000
SECRET = "s" * 32
METRICS = '{"temp_c":21.5,"humidity_pct":40.25,"battery_pct":77,"rssi_dbm":-71}'
COLUMNS = "device_id, tenant_id, time, received_at, seq, msg_type, site, metrics"
COPY = f"COPY telemetry_reading ({COLUMNS}) FROM STDIN"
INSERT = f"INSERT INTO telemetry_reading ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"


class Run(NamedTuple):
    stored_per_s: float
    how: str


async def measure(subject: Subject) -> list[Figure]:
    few = await _run(subject, devices=2000)
    copy = _baseline(subject.stack, _copy_batch, COPY_ROWS)
    seed = _baseline(subject.stack, _executemany_batch, BATCH)
    many = await _run(subject, devices=100_000)
    return [
        Figure(
            name="readings stored, 2,000 devices",
            value=few.stored_per_s,
            unit="/s",
            must=40_000,
            aim=100_000,
            how=few.how,
        ),
        Figure(
            name="… as a share of bare COPY",
            value=few.stored_per_s / copy,
            unit="×",
            must=0.35,
            aim=0.6,
            how=f"COPY of {COPY_ROWS:,} rows, one process: {copy:,.0f}/s",
        ),
        Figure(
            name="… compared with executemany",
            value=few.stored_per_s / seed,
            unit="×",
            how=f"batches of {BATCH}: {seed:,.0f}/s",
        ),
        Figure(
            name="readings stored, 100,000 devices",
            value=many.stored_per_s,
            unit="/s",
            must=25_000,
            aim=50_000,
            how=many.how,
        ),
    ]


async def _run(subject: Subject, *, devices: int) -> Run:
    gateways = gateways_add(subject.stack, devices)
    result = await batches_run(gateways.job(duration_s=ROUND_S))
    elapsed_s = gateways.await_stored(result)
    return Run(
        result.accepted / elapsed_s,
        f"{result.accepted:,} acknowledged in {result.elapsed_s:.0f} s, all stored after "
        f"{elapsed_s:.1f} s, residual 0; generator {result.cpu_share:.0%} of a core",
    )


class Gateways(NamedTuple):
    """Tenants with `devices` devices in total, and one gateway key per tenant."""

    stack: Stack
    tenant_ids: list[int]
    keys: list[str]
    devices: int

    def job(self, *, duration_s: float, rate_per_s: float = 0) -> Job:
        """Batches of readings from all devices in turn."""
        return Job(
            host="127.0.0.1",
            port=self.stack.addresses.ingest_port,
            keys=self.keys,
            devices=self.devices // TENANTS,
            size=BATCH,
            connections=CONNECTIONS,
            duration_s=duration_s,
            rate_per_s=rate_per_s,
        )

    def await_stored(self, result: Result) -> float:
        """Waits until everything acknowledged is stored; returns the seconds since the load began.

        Raises RuntimeError unless the table has each acknowledged reading once, with no others,
        and the ledger agrees.
        """
        if set(result.statuses) - {202, 503}:
            raise RuntimeError(f"not everything was accepted: {result.statuses}")
        counted = _await_counted(self.stack, self.tenant_ids, result.accepted)
        elapsed_s = time.time() - result.began_at
        if counted != (result.accepted, result.accepted, 0, 0):
            raise RuntimeError(f"of {result.accepted} accepted readings the ledger says {counted}")
        found = self._found(result.turns)
        if found != (result.accepted, result.accepted):
            raise RuntimeError(f"of {result.accepted} acknowledged readings {found} are stored")
        return elapsed_s

    def _found(self, turns: list[int]) -> tuple[int, ...]:
        """The number of stored readings, and how many of them are in acknowledged batches."""
        statement = (
            "SELECT count(*), count(*) FILTER (WHERE seq = ANY(%s::bigint[])) "
            "FROM telemetry_reading "
            "WHERE tenant_id = ANY(%s)"
        )
        with psycopg.connect(self.stack.database_url) as connection:
            row = connection.execute(statement, (turns, self.tenant_ids)).fetchone()
        assert row is not None
        return row


def gateways_add(stack: Stack, devices: int) -> Gateways:
    """Creates tenants with devices and gateways."""
    tenant_ids, keys = [], []
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        for _ in range(TENANTS):
            tenant_id = _one(
                connection,
                "INSERT INTO devices_tenant (name, slug, is_active, default_interval_s, "
                "default_grace_s, created_at) SELECT 'bench', 'bench-' || count(*), true, 60, 30, "
                "now() FROM devices_tenant RETURNING id",
            )
            connection.execute(
                "INSERT INTO devices_device (tenant_id, device_id, name, kind, created_at) "
                "SELECT %s, 'd' || n, '', 'sensor', now() FROM generate_series(1, %s) n",
                (tenant_id, devices // TENANTS),
            )
            prefix = f"{tenant_id:010}"
            connection.execute(
                "INSERT INTO devices_credential (tenant_id, prefix, secret_sha256, label, "
                "created_at) VALUES (%s, %s, %s, '', now())",
                (tenant_id, prefix, hashlib.sha256(SECRET.encode()).digest()),
            )
            tenant_ids.append(tenant_id)
            keys.append(f"rc_{prefix}_{SECRET}")
        connection.execute("VACUUM ANALYZE devices_device, telemetry_devicestatus")
    return Gateways(stack, tenant_ids, keys, devices)


def _await_counted(stack: Stack, tenant_ids: list[int], accepted: int) -> tuple[int, ...]:
    """The ledger's (accepted, stored, not stored again, rejected), once all are accounted for."""
    statement = (
        "SELECT coalesce(sum(accepted), 0)::bigint, coalesce(sum(stored), 0)::bigint, "
        "coalesce(sum(joined + duplicate + conflict), 0)::bigint, "
        "coalesce(sum(rejected), 0)::bigint "
        "FROM ingest_ledgerminute WHERE tenant_id = ANY(%s)"
    )
    with psycopg.connect(stack.database_url, autocommit=True) as connection:

        def counted() -> tuple[int, ...]:
            row = connection.execute(statement, (tenant_ids,)).fetchone()
            assert row is not None
            return row

        await_condition(lambda: sum(counted()[1:]) >= accepted, 600, "the backlog to be stored")
        await_condition(lambda: counted()[0] >= accepted, 30, "the ledger to count what came")
        return counted()


def _baseline(
    stack: Stack,
    store: Callable[[psycopg.Connection[Any], int, datetime, int], None],
    rows: int,
) -> float:
    """Rows per second that one connection writes to telemetry_reading, over BASELINE_S seconds."""
    stored, began_at = 0, time.monotonic()
    with psycopg.connect(stack.database_url) as connection:
        tenant_id = _one(connection, "SELECT max(id) FROM devices_tenant")
        moment = datetime.now(UTC) - timedelta(hours=1)
        while time.monotonic() - began_at < BASELINE_S:
            store(connection, tenant_id, moment + timedelta(microseconds=stored), rows)
            connection.commit()
            stored += rows
        elapsed_s = time.monotonic() - began_at
        connection.execute("DELETE FROM telemetry_reading WHERE device_id < 0")
    return stored / elapsed_s


def _copy_batch(
    connection: psycopg.Connection[Any], tenant_id: int, moment: datetime, rows: int
) -> None:
    now = moment.isoformat()
    lines = "".join(
        f"{-1 - n % 2000}\t{tenant_id}\t{(moment + timedelta(microseconds=n)).isoformat()}\t{now}\t"
        f"{n}\ttelemetry\t\\N\t{METRICS}\n"
        for n in range(rows)
    )
    with connection.cursor().copy(COPY) as copy:
        copy.write(lines)


def _executemany_batch(
    connection: psycopg.Connection[Any], tenant_id: int, moment: datetime, rows: int
) -> None:
    connection.cursor().executemany(INSERT, list(_rows(tenant_id, moment, rows)))


def _rows(tenant_id: int, moment: datetime, rows: int) -> Iterator[tuple[Any, ...]]:
    for n in range(rows):
        time_ = moment - timedelta(days=1) + timedelta(microseconds=n)
        yield -1 - n % 2000, tenant_id, time_, moment, n, "telemetry", None, METRICS


def _one(connection: psycopg.Connection[Any], statement: str) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
