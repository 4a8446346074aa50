"""Simulated fleets against the whole stack."""

import signal
import subprocess
from pathlib import Path

import psycopg

from scripts.processes import BIN, ROOT
from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.waits import LIMIT_S


def test_heartbeats_are_stored_when_the_demo_fleet_runs(stack: Stack, tmp_path: Path) -> None:
    demo = tmp_path / "demo.json"
    stack.manage("demo", "--devices=3", f"--write={demo}", f"--ingest-url={stack.ingest_url}")
    line = stack.manage(
        "simulate", f"--demo={demo}", "--interval=1", "--silent-share=0", "--duration=2.5"
    )
    assert "refused 0" in line and "accepted 0" not in line
    assert _heartbeats(stack, "demo") >= 3


def test_keys_are_revoked_when_a_fleet_of_its_own_is_told_to_stop(stack: Stack) -> None:
    stack.manage("shell", "-c", "Tenant.objects.get_or_create(slug='sim', name='Sim')")
    command = [str(BIN / "python"), "manage.py", "simulate", "--tenant=sim", "--create=4"]
    process = subprocess.Popen(
        [*command, "--interval=1", "--silent-share=0", f"--url={stack.ingest_url}"],
        cwd=ROOT,
        env=stack.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    await_condition(lambda: _heartbeats(stack, "sim") >= 4, LIMIT_S, "four heartbeats")
    process.send_signal(signal.SIGTERM)
    line, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "refused 0" in line
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute(
            "SELECT count(*), count(revoked_at) FROM devices_credential WHERE label = 'simulate'"
        ).fetchone()
    assert rows == (4, 4)


def _heartbeats(stack: Stack, tenant: str) -> int:
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM telemetry_heartbeat h JOIN devices_tenant t "
            "ON t.id = h.tenant_id WHERE t.slug = %s",
            [tenant],
        ).fetchone()
    assert row is not None
    return int(row[0])
