"""Runs all tests, as `make test` does: python -m scripts.run_tests [pytest arguments].

Tests in `tests/e2e` and `tests/browser` run real processes, which a stalled machine can delay
beyond any limit. A test that fails there is rerun once, on its own, after all others have ended. If
it then passes, it is flaky: both logs are printed, and the run passes with at most MAX_FLAKY flaky
tests. Any other failure fails the run.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.outcomes import Outcome, outcomes_read
from scripts.processes import ROOT

MAY_BE_FLAKY = ("tests/e2e/", "tests/browser/")
MAX_FLAKY = 2
# The tests in a file share what the file starts, so they stay in one process. With loadfile,
# pytest-xdist may wait forever for the replacement of a worker that died (its issue 1378).
IN_PARALLEL = ("-n", "2", "--dist", "loadfile", "--max-worker-restart=0")
PARTS = ("setup", "call", "teardown")


@dataclass(frozen=True)
class Run:
    """One run of pytest. A test has failed if any part of it has, including teardown."""

    status: int
    outcomes: Sequence[Outcome]

    @property
    def is_complete(self) -> bool:
        return self.status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)

    @property
    def failed(self) -> list[str]:
        return list(dict.fromkeys(o.nodeid for o in self.outcomes if o.outcome == "failed"))

    @property
    def may_be_flaky(self) -> list[str]:
        """The failed tests, without those that ended their process before other tests ran."""
        ended = {o.nodeid for o in self.outcomes if o.outcome == "failed" and o.when not in PARTS}
        return [n for n in self.failed if n.startswith(MAY_BE_FLAKY) and n not in ended]

    @property
    def passed(self) -> set[str]:
        called = {o.nodeid for o in self.outcomes if (o.when, o.outcome) == ("call", "passed")}
        return called.difference(self.failed)

    def log(self, nodeid: str) -> str:
        return "\n".join(o.log for o in self.outcomes if o.nodeid == nodeid and o.log)


def pytest_run(*arguments: str) -> Run:
    """Runs pytest in a separate process, which prints to our output."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes"
        file.touch()
        recording = ("-p", "scripts.outcomes", f"--outcomes={file}")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *recording, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return Run(done.returncode, outcomes_read(file))


def tests_run(*arguments: str) -> int:
    """Runs the tests, reruns failures that may be flaky, and returns the exit status.

    If the tests run to the end, the last line printed has the form "7 passed, 0 failed".
    """
    first = pytest_run(*IN_PARALLEL, *arguments)
    if not first.is_complete:
        return first.status
    flaky = _flaky(first)
    left = [nodeid for nodeid in first.failed if nodeid not in flaky]
    if len(flaky) > MAX_FLAKY:
        print(f"{len(flaky)} tests are flaky; at most {MAX_FLAKY} may be.")
        left += flaky
    passed = first.passed.union(flaky).difference(left)
    # Pytest may fail without naming a test.
    succeeded = not left and (first.status == pytest.ExitCode.OK or bool(flaky))
    print(f"{len(passed)} passed, {len(left) or int(not succeeded)} failed", flush=True)
    return 0 if succeeded else pytest.ExitCode.TESTS_FAILED.value


def _flaky(first: Run) -> list[str]:
    """The failed tests that pass when rerun on their own; prints both logs of each."""
    if not (again := first.may_be_flaky):
        return []
    print(f"\nRunning {len(again)} failed tests of {' and '.join(MAY_BE_FLAKY)} again, alone.")
    sys.stdout.flush()
    second = pytest_run(*again)
    if not second.is_complete:
        return []
    flaky = [nodeid for nodeid in again if nodeid in second.passed]
    if flaky:
        print(f"\n{' flaky ':=^100}")
    for nodeid in flaky:
        print(f"{nodeid} failed in the first run:\n{first.log(nodeid)}\n")
        print(f"{nodeid} passed in the second run:\n{second.log(nodeid)}\n")
    return flaky


if __name__ == "__main__":
    sys.exit(tests_run(*sys.argv[1:]))
