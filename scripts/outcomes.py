"""Pytest plugin: writes the outcome of each test to a file, one line of JSON per report."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Outcome:
    """The outcome of a test's setup, call or teardown, or of collecting a file."""

    nodeid: str
    when: str
    outcome: str  # "passed", "failed" or "skipped"
    log: str


def outcomes_read(file: Path) -> list[Outcome]:
    return [Outcome(**json.loads(line)) for line in file.read_text().splitlines()]


class Recorder:
    """Writes line by line, so that outcomes survive a run that ends early."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", buffering=1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._write(report, report.when)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(report, "collect")

    def pytest_unconfigure(self) -> None:
        self._file.close()

    def _write(self, report: pytest.TestReport | pytest.CollectReport, when: str) -> None:
        log = "\n".join(_log(report))
        print(
            json.dumps(asdict(Outcome(report.nodeid, when, report.outcome, log))), file=self._file
        )


def _log(report: pytest.TestReport | pytest.CollectReport) -> Iterator[str]:
    if report.failed:
        yield report.longreprtext
    for title, text in report.sections:
        yield f"--- {title} ---\n{text}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, metavar="FILE", help="where to write them")


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist's main process gets the reports of all its workers.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config.getoption("outcomes")))
