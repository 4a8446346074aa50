"""Tests of isolation and of joining once more, on the Community edition with the columnstore."""

import os
import re
import subprocess
import sys

from scripts.processes import ROOT
from tests.community.database import community_database

TESTS = ("tests/devices/tenancy/test_scope.py", "tests/telemetry/sql/test_joining_compressed.py")
# Logs in with a role's own password, which this database does not check.
LEFT_OUT = "not test_the_role_that_serves"


def test_tenants_are_kept_apart_and_messages_joined_over_compressed_chunks() -> None:
    with community_database() as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *TESTS, "-q", "-k", LEFT_OUT],
            cwd=ROOT,
            env={**os.environ, "ROLLCALL_TEST_DATABASE_URL": url, "DATABASE_POOL_SIZE": "0"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-4000:]
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 9
    assert "skipped" not in done.stdout


def test_no_two_processes_get_the_same_database() -> None:
    environment = {**os.environ, "ROLLCALL_TEST_DATABASE_URL": "postgres://127.0.0.1:1/none"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *TESTS, "--collect-only", "-n", "2"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4, done.stdout[-4000:]
    assert "-n makes several processes" in done.stdout + done.stderr
