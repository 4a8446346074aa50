"""Commands of manage.py on what `make run` has started."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import manage
from scripts.processes import ROOT
from scripts.stack import Stack
from tests.stack_data import add_tenant


def test_a_command_runs_on_the_database_that_was_started(stack: Stack, tmp_path: Path) -> None:
    demo = tmp_path / "demo.json"
    demo.write_text(
        json.dumps({"database_url": stack.database_url, "valkey_url": stack.env["VALKEY_URL"]})
    )
    tenant_id = add_tenant(stack)
    done = subprocess.run(
        [sys.executable, "manage.py", "dumpdata", "devices.Tenant", f"--pks={tenant_id}"],
        cwd=ROOT,
        env=manage.demo_environment(demo),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [row["pk"] for row in json.loads(done.stdout)] == [tenant_id]


def test_it_says_what_to_do_when_nothing_was_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(manage, "DEMO", tmp_path / "demo.json")
    with pytest.raises(SystemExit, match="make run"):
        manage.main()
