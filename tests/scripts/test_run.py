"""`make run` and `make stop` without a stack, which tests/e2e/test_kills.py has."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts import run
from scripts.processes import ROOT
from scripts.services.marks import STATE, marked_find, marked_kill, marked_stop, marks
from scripts.waiting import await_condition

# Of a server whose parent is killed, a child lives on.
PARENT = """
import subprocess
subprocess.Popen(["sleep", "600"]).wait()
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


@contextmanager
def sleeping(variables: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, **variables})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def programs(state: Path) -> list[str]:
    return sorted(one.program for one in marked_find(state))


def test_a_child_is_found_after_its_parent_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env={**os.environ, **marks(tmp_path, "ingest")}
    )
    await_condition(lambda: programs(tmp_path) == ["ingest", "ingest"], 60, "the child to start")
    parent.kill()
    parent.wait()
    assert programs(tmp_path) == ["ingest"]

    marked_kill(tmp_path)

    assert programs(tmp_path) == []


def test_what_is_not_of_the_state_folder_lives_on(tmp_path: Path) -> None:
    other = marks(tmp_path / "other", "ingest")
    # As in the shell of somebody who has set the variable.
    shell = {STATE: str(tmp_path)}
    with sleeping(other) as elsewhere, sleeping(shell) as unnamed:
        run.stop(tmp_path)

        assert (elsewhere.poll(), unnamed.poll()) == (None, None)


def test_a_program_begins_when_nothing_of_an_earlier_start_is_left(tmp_path: Path) -> None:
    with sleeping(marks(tmp_path, "ingest")) as left, sleeping(marks(tmp_path, "ops")) as other:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.program", "echo", "begun"],
            cwd=ROOT,
            env={**os.environ, **marks(tmp_path, "ingest")},
            capture_output=True,
            text=True,
        )

        assert (done.returncode, done.stdout) == (0, "begun\n")
        assert (left.wait(60), other.poll()) == (-9, None)


def test_those_who_do_not_stop_are_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF],
        env={**os.environ, **marks(tmp_path, "ops")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as said:
        said.readline()
        with sleeping(marks(tmp_path, "drain")) as other:
            marked_stop(tmp_path, {"ops", "drain"}, timeout_s=1)
            assert (process.wait(60), other.wait(60)) == (-9, -15)


def test_stop_says_what_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sleeping(marks(tmp_path, "ops")), sleeping(marks(tmp_path, "drain")):
        run.stop(tmp_path)
    assert capsys.readouterr().out == "Stopped: drain, ops.\n"

    run.stop(tmp_path)
    assert capsys.readouterr().out == "Nothing was running.\n"


def test_two_do_not_run_on_one_folder(tmp_path: Path) -> None:
    taken = run._lock(tmp_path)
    try:
        with pytest.raises(run.RunError, match="runs already"):
            run.run(tmp_path)
    finally:
        assert taken is not None
        taken.close()
