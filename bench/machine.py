"""Describes the machine that was measured."""

import os
import platform
import subprocess
from pathlib import Path

from scripts.processes import ROOT


def description() -> str:
    """`2 cores (AMD EPYC …), 8 GB, Python 3.11.2, commit 5838c0c, changed`."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{len(cores())} cores ({_model()}), {memory_gb:.0f} GB, "
        f"Python {platform.python_version()}, commit {_commit()}"
    )


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{commit}, changed" if _git("status", "--porcelain") else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
