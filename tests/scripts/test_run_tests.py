"""`scripts.run_tests` on small suites, with real runs of pytest."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.processes import ROOT

# Passes if it ran before; says where it runs.
FLAKY = """
import os, pathlib

def ran_before(name):
    print(f"{name} ran in {os.environ.get('PYTEST_XDIST_WORKER', 'no worker')}")
    marker = pathlib.Path(__file__).with_name(name)
    try:
        return marker.exists()
    finally:
        marker.touch()
"""
GOOD = "def test_good(): pass\n"


@dataclass
class Ended:
    status: int
    lines: list[str]

    def about(self, words: str) -> list[str]:
        return [line for line in self.lines if words in line]


@dataclass
class Suite:
    folder: Path

    def add(self, path: str, text: str) -> None:
        file = self.folder / "tests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FLAKY + text)

    def run(self) -> Ended:
        outer = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
        # The project's plugins take a second to load.
        own = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "scripts.run_tests"],
            cwd=self.folder,
            env={**outer, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Ended(done.returncode, done.stdout.splitlines())


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -p xdist.plugin -p no:cacheprovider\n"
    )
    suite = Suite(tmp_path)
    suite.add("devices/test_rooms.py", GOOD)
    return suite


def test_a_run_in_which_all_pass_ends_with_their_number(suite: Suite) -> None:
    suite.add("e2e/test_way.py", GOOD)

    ended = suite.run()

    assert (ended.status, ended.lines[-1]) == (0, "2 passed, 0 failed")
    assert not ended.about("again")


def test_what_passes_alone_is_flaky_and_shown_with_both_logs(suite: Suite) -> None:
    suite.add(
        "e2e/test_way.py",
        "import pytest\n"
        "@pytest.mark.parametrize('name', ['a b[c]::d', 'ü'])\n"
        "def test_way(name): assert ran_before('way' + name[0]) or name == 'ü', 'a stall'\n",
    )

    ended = suite.run()

    assert (ended.status, ended.lines[-1]) == (0, "3 passed, 0 failed")
    after = ended.lines[ended.lines.index(ended.about(" flaky ")[0]) :]
    words = "\n".join(after)
    failed, passed = words.split("passed in the second run")
    assert "test_way[a b[c]::d] failed in the first run" in failed
    assert "AssertionError: a stall" in failed
    assert "waya ran in gw" in failed
    assert "waya ran in no worker" in passed
    assert "wayü" not in words


def test_what_fails_twice_fails_the_run(suite: Suite) -> None:
    suite.add("browser/test_page.py", "def test_page(): assert not ran_before('page') and False\n")

    ended = suite.run()

    assert (ended.status, ended.lines[-1]) == (1, "1 passed, 1 failed")
    assert not ended.about(" flaky ")


def test_what_fails_elsewhere_is_not_run_again(suite: Suite) -> None:
    suite.add("ingest/test_door.py", "def test_door(): assert ran_before('door')\n")
    suite.add("e2e/test_way.py", "def test_way(): assert ran_before('way')\n")

    ended = suite.run()

    assert (ended.status, ended.lines[-1]) == (1, "2 passed, 1 failed")
    assert ended.about("test_way failed in the first run")
    assert not ended.about("test_door failed in the first run")


@pytest.mark.parametrize(
    ("flaky", "status", "last"), [(2, 0, "3 passed, 0 failed"), (3, 1, "1 passed, 3 failed")]
)
def test_two_may_be_flaky_and_no_more(suite: Suite, flaky: int, status: int, last: str) -> None:
    for n in range(flaky):
        suite.add(f"e2e/test_way{n}.py", f"def test_way(): assert ran_before('way{n}')\n")

    ended = suite.run()

    assert (ended.status, ended.lines[-1]) == (status, last)
    assert len(ended.about("passed in the second run")) == flaky


def test_a_process_that_dies_fails_the_run(suite: Suite) -> None:
    suite.add("e2e/test_dying.py", "def test_dying(): ran_before('dying') or os._exit(7)\n")

    ended = suite.run()

    assert ended.status != 0
    assert ended.about("crashed while running")
    assert not ended.about(" flaky ")


def test_a_teardown_that_fails_may_be_flaky_too(suite: Suite) -> None:
    suite.add(
        "browser/test_ending.py",
        "import pytest\n"
        "@pytest.fixture\n"
        "def page(): yield; assert ran_before('ending'), 'a late error'\n"
        "def test_ending(page): pass\n",
    )

    ended = suite.run()

    assert (ended.status, ended.lines[-1]) == (0, "2 passed, 0 failed")
    assert ended.about("a late error")


def test_a_file_that_cannot_be_collected_fails_the_run(suite: Suite) -> None:
    suite.add("e2e/test_way.py", "assert ran_before('import')\n" + GOOD)

    ended = suite.run()

    assert ended.status != 0
    assert not ended.about(" flaky ")
