"""Measures processes through /proc, and pins them to cores."""

import os
from collections.abc import Iterable
from pathlib import Path

from scripts.stack import Stack

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NAMES = ("portal", "ingest", "drain", "ops", "beat")


def stack_processes(stack: Stack) -> dict[str, list[int]]:
    """The process ids of each part of the stack, including children. Parts that do not run on this
    machine are left out."""
    leaders = {name: stack.pid(name) for name in NAMES}
    leaders |= {one.name: one.pid for one in stack.services.status() if one.pid is not None}
    return {name: tree(pid) for name, pid in leaders.items()}


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    children = _children()
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Lets all threads of the processes, and their later threads, run only on these cores."""
    for pid in pids:
        for thread in _names(PROC / str(pid) / "task"):
            try:
                os.sched_setaffinity(int(thread), cores)
            except ProcessLookupError:
                continue


def cpu_s(pids: Iterable[int]) -> float:
    """The processor time of the processes so far, in seconds."""
    return sum(sum(map(int, _stat(pid)[11:13])) for pid in pids) / TICKS_PER_S


def memory_mb(pids: Iterable[int]) -> tuple[float, float]:
    """Resident memory in MB: PSS, which divides shared pages between processes, and RSS, which
    counts them in each."""
    pss = rss = 0
    for pid in pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                pss += int(line.split()[1])
            elif line.startswith("Rss:"):
                rss += int(line.split()[1])
    return pss / 1000, rss / 1000


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for name in _names(PROC):
        if name.isdecimal() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    return children


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat, beginning with the state; zeroes for a process that is
    gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 20
    return text.rpartition(")")[2].split()


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
