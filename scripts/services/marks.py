"""Marks placed in the environment of every process that `make run` starts, so that it can be found.

Children keep the marks even after their parent dies. PostgreSQL and Valkey overwrite theirs with
the process title; those two are found by their folders (scripts.services.process).
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.services.account import Account
from scripts.services.process import PROC, signal_send, wait_until

STATE, PROGRAM = "ROLLCALL_STATE", "ROLLCALL_PROGRAM"
KILL_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Marked:
    """A live process with both marks."""

    pid: int
    parent: int
    program: str


def marks(state: Path, program: str) -> dict[str, str]:
    """The variables that mark the processes of a program that uses this state folder."""
    return {STATE: str(state.absolute()), PROGRAM: program}


def marks_in(variables: Mapping[str, str]) -> dict[str, str]:
    """Only those variables that are marks."""
    return {name: variables[name] for name in (STATE, PROGRAM) if name in variables}


def marked_find(state: Path, program: str | None = None) -> list[Marked]:
    """The running processes that use the state folder, or those of one program; never this one."""
    account, folder = Account.current(), str(state.absolute())
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        variables = _environment(entry, account)
        named = variables.get(PROGRAM)
        if named and variables.get(STATE) == folder and program in (None, named):
            found.append(Marked(int(entry.name), _parent(entry), named))
    return found


def marked_kill(state: Path, program: str | None = None) -> None:
    """Kill the marked processes and wait. Raises TimeoutError if some do not die."""

    def kill_all() -> bool:
        found = marked_find(state, program)
        for one in found:
            signal_send(one.pid, signal.SIGKILL)
        return not found

    if not wait_until(kill_all, KILL_TIMEOUT_S):
        left = ", ".join(f"{one.program} ({one.pid})" for one in marked_find(state, program))
        raise TimeoutError(f"not dead {KILL_TIMEOUT_S:.0f} s after SIGKILL: {left}")


def marked_stop(state: Path, programs: set[str], *, timeout_s: float) -> None:
    """Stop the processes of these programs with SIGTERM; kill those left after `timeout_s`."""

    def found() -> list[Marked]:
        return [one for one in marked_find(state) if one.program in programs]

    asked = found()
    pids = {one.pid for one in asked}
    for one in asked:
        # Parents stop their own children.
        if one.parent not in pids:
            signal_send(one.pid, signal.SIGTERM)
    wait_until(lambda: not found(), timeout_s)
    for program in {one.program for one in found()}:
        marked_kill(state, program)


def _environment(entry: Path, account: Account) -> dict[str, str]:
    """The variables that the process started with; empty if it is gone or may not be read."""
    raw = _read(entry / "environ")
    if not raw:
        with account.file_access():
            raw = _read(entry / "environ")
    pairs = (one.partition("=") for one in raw.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(entry: Path) -> int:
    try:
        stat = (entry / "stat").read_text()
    except OSError:
        return 0
    return int(stat[stat.rindex(")") + 2 :].split()[1])
