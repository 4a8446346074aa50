"""Finds, signals and awaits the processes of a service.

A process belongs to a service if it runs the service's program in the service's data folder. So no
reused process id is ever signalled, and a lost pid file does no harm.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.services.account import Account

PROC = Path("/proc")
DELETED = " (deleted)"
KILL_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Process:
    """A running process."""

    pid: int
    parent: int


def processes_find(program: str, folder: Path, account: Account) -> list[Process]:
    """The processes of `account` that run `program` with `folder` as their working folder."""
    wanted = str(folder)
    with account.file_access():
        return [found for found in _processes(program) if _working_folder(found.pid) == wanted]


def leader_find(program: str, folder: Path, account: Account) -> Process | None:
    """The process among them that is not a child of another one."""
    processes = processes_find(program, folder, account)
    pids = {process.pid for process in processes}
    return next((process for process in processes if process.parent not in pids), None)


def processes_kill(program: str, folder: Path, account: Account) -> bool:
    """Kill all processes of `account` that run `program` in `folder`; True when they are dead.

    The leader is stopped first, so that it cannot start another child meanwhile.
    """
    if leader := leader_find(program, folder, account):
        signal_send(leader.pid, signal.SIGSTOP)
    for process in processes_find(program, folder, account):
        signal_send(process.pid, signal.SIGKILL)
    return wait_until(lambda: not processes_find(program, folder, account), KILL_TIMEOUT_S)


def signal_send(pid: int, number: signal.Signals) -> None:
    """Send a signal; does nothing if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """True as soon as `condition` holds, False if it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _processes(program: str) -> Iterator[Process]:
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
        if name == program and state not in "ZX":
            yield Process(int(entry.name), int(parent))


def _working_folder(pid: int) -> str | None:
    try:
        return str((PROC / str(pid) / "cwd").readlink())
    except OSError:
        return None
