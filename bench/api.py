"""How fast API requests are answered, with 100,000 devices in 20 tenants.

A member of one tenant sends one request at a time over one connection to the WSGI server, as a
proxy would. So the work for a single response is measured. Every device has a status and a reading
in the last hour; some have a reading every 5 s. The cost of a scope is measured in one process that
alternately runs the queries for a busy device's page with and without a scope. That device has a
key, a heartbeat every minute and some transitions.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import psycopg
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from bench.report import Better, Figure, percentile
from bench.subject import Subject
from scripts.processes import ROOT
from scripts.stack import Stack

TENANTS = 20
DEVICES = 5_000  # in each tenant
BUSY = 200  # devices in the member's tenant with a reading every 5 s
REQUESTS = 400
# Paths take turns, so that other load on the machine does not affect just one of them.
ROUNDS = 3
WARM_UP = 20
PASSWORD = "bench bench bench"
# (name, path, target in ms)
ASKED: tuple[tuple[str, Callable[[int], str], float], ...] = (
    ("device list", lambda n: "/api/v1/devices", 30),
    ("device by name", lambda n: f"/api/v1/devices/d{n % DEVICES + 1}", 10),
    (
        "readings of one hour",
        lambda n: f"/api/v1/devices/d{n % BUSY + 1}/readings?hours=1",
        15,
    ),
    ("summary", lambda n: "/api/v1/telemetry/summary?hours=1", 100),
)

FILL = f"""
INSERT INTO devices_tenant
    (name, slug, is_active, default_interval_s, default_grace_s, created_at)
SELECT 'page ' || n, 'page-' || n, true, 60, 30, now() FROM generate_series(1, {TENANTS}) n;
INSERT INTO devices_device (tenant_id, device_id, name, kind, created_at)
SELECT t.id, 'd' || n, 'Device ' || n, 'sensor', now()
FROM devices_tenant t, generate_series(1, {DEVICES}) n WHERE t.slug LIKE 'page-%';
UPDATE telemetry_devicestatus s
SET state = 'online', state_since = now(), last_seen = now(), last_reading_at = now(),
    reason = 'first heartbeat', battery_pct = 77,
    metrics = '{{"temp_c": 21.5, "humidity_pct": 40.25, "battery_pct": 77, "rssi_dbm": -71}}'
FROM devices_tenant t WHERE t.id = s.tenant_id AND t.slug LIKE 'page-%';
INSERT INTO telemetry_reading
    (device_id, tenant_id, time, received_at, seq, msg_type, site, metrics)
SELECT d.id, d.tenant_id, now() - interval '30 min', now(), 1, 'telemetry', NULL,
       '{{"temp_c": 21.5, "humidity_pct": 40.25, "battery_pct": 77, "rssi_dbm": -71}}'
FROM devices_device d JOIN devices_tenant t ON t.id = d.tenant_id WHERE t.slug LIKE 'page-%';
CREATE TEMPORARY TABLE busy AS
SELECT d.id AS device_id, d.tenant_id
FROM devices_device d JOIN devices_tenant t ON t.id = d.tenant_id
WHERE t.slug = 'page-1' ORDER BY d.id LIMIT {BUSY};
INSERT INTO telemetry_reading
    (device_id, tenant_id, time, received_at, seq, msg_type, site, metrics)
SELECT device_id, tenant_id, now() - n * interval '5 s', now(), n, 'telemetry', NULL,
       jsonb_build_object('temp_c', 20 + n % 7, 'humidity_pct', 40, 'battery_pct', 77)
FROM busy, generate_series(1, 720) n
ON CONFLICT DO NOTHING;
INSERT INTO telemetry_heartbeat
    (device_id, tenant_id, bucket, time, received_at, battery_pct, rssi_dbm, version)
SELECT device_id, tenant_id, date_bin('10 s', at, 'epoch'), at, at, 77, -71, '1.2.3'
FROM busy, generate_series(0, 6 * 60) n, LATERAL (SELECT now() - n * interval '1 min' AS at) _;
INSERT INTO telemetry_presenceevent (device_id, tenant_id, time, previous_state, state, reason)
SELECT device_id, tenant_id, now() - n * interval '1 hour',
       CASE WHEN n % 2 = 0 THEN 'late' ELSE 'online' END,
       CASE WHEN n % 2 = 0 THEN 'online' ELSE 'late' END, 'a heartbeat after 95 s'
FROM busy, generate_series(1, 12) n;
INSERT INTO devices_credential
    (device_id, tenant_id, prefix, secret_sha256, label, created_at)
SELECT device_id, tenant_id, 'bench' || device_id, sha256(device_id::text::bytea), '', now()
FROM busy;
"""
MEMBER = """
WITH person AS (
    INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
                           last_name, email, date_joined)
    VALUES ('page-member', %s, false, true, true, '', '', '', now()) RETURNING id
)
INSERT INTO devices_membership (tenant_id, user_id, role, created_at)
SELECT t.id, person.id, 'manager', now() FROM devices_tenant t, person WHERE t.slug = 'page-1'
"""
TABLES = (
    "devices_device, devices_tenant, devices_credential, telemetry_devicestatus, "
    "telemetry_heartbeat, telemetry_presenceevent, telemetry_reading"
)


async def measure(subject: Subject) -> list[Figure]:
    stack = subject.stack
    _fill(stack)
    costs, rounds = [], []
    async with aiohttp.ClientSession(stack.ingest_url) as session:
        session.headers["Authorization"] = f"Bearer {await _token(session)}"
        for _ in range(ROUNDS):
            costs.append(_scope_cost(stack))
            rounds.append([await _asked(session, path) for _, path, _ in ASKED])
    # The pass in which the machine was fastest: the lowest cost might be due to chance.
    figures = [_scope_figure(min(costs, key=lambda cost: cost["without_ms"]))]
    for (what, _, must_ms), *took in zip(ASKED, *rounds, strict=True):
        best = min(took, key=lambda latencies: percentile(latencies, 0.95))
        figures.append(
            Figure(
                name=f"{what}, 100,000 devices, p95",
                value=percentile(best, 0.95),
                unit="ms",
                better=Better.LOWER,
                must=must_ms,
                how=f"best of {ROUNDS} × {REQUESTS} requests, p50 {percentile(best, 0.5):.1f} ms",
            )
        )
    return figures


def _fill(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(FILL.encode())
        encoded = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1000)
        connection.execute(MEMBER, (encoded,))
        connection.execute(f"VACUUM ANALYZE {TABLES}".encode())


async def _token(session: aiohttp.ClientSession) -> str:
    body = {"username": "page-member", "password": PASSWORD}
    async with session.post("/api/v1/auth/token", json=body) as answer:
        answer.raise_for_status()
        token: str = (await answer.json())["access"]
        return token


async def _asked(session: aiohttp.ClientSession, path: Callable[[int], str]) -> list[float]:
    latencies = []
    for n in range(-WARM_UP, REQUESTS):
        began = time.perf_counter()
        async with session.get(path(abs(n))) as answer:
            await answer.read()
            answer.raise_for_status()
        if n >= 0:
            latencies.append(1000 * (time.perf_counter() - began))
    return latencies


def _scope_cost(stack: Stack) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.scope"],
        cwd=ROOT,
        env=stack.env,
        capture_output=True,
        text=True,
        check=True,
    )
    cost: dict[str, Any] = json.loads(done.stdout)
    return cost


def _scope_figure(cost: dict[str, Any]) -> Figure:
    return Figure(
        name="what the scope adds to a device page's queries, p50",
        value=cost["with_ms"] - cost["without_ms"],
        unit="ms",
        # No target: this is only part of a response, and responses have targets.
        better=Better.LOWER,
        how=f"{cost['with_ms']:.2f} ms with, {cost['without_ms']:.2f} ms without, in turns, "
        f"{cost['rounds']} each, the fastest of {ROUNDS} passes",
    )
