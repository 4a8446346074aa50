"""supervisord: its configuration for the programs of `make run`, and its process."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.processes import BIN, ROOT
from scripts.services.marks import PROGRAM, marks
from scripts.services.state import private_write

SUPERVISORD = "supervisord"

MAIN = """\
[supervisord]
nodaemon=true
silent=true
pidfile={state}/supervisord.pid
logfile={logs}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
{user}
"""

SECTION = """
[program:{name}]
command={command}
directory={root}
environment={environment}
priority={priority}
stopsignal={stop_signal}
stopwaitsecs={stop_within_s}
autorestart=true
startsecs=3
startretries=1000
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""

# Programs of a group are stopped together, groups one after the other: the lowest priority last.
GROUP = """
[group:{name}]
programs={programs}
priority={priority}
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command line to keep running, with its own variables."""

    command: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    is_service: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: int = 20


def configure(state: Path, programs: Mapping[str, Program]) -> None:
    """Writes the configuration, readable only by its owner because it contains passwords."""
    logs = state / "log"
    logs.mkdir(parents=True, exist_ok=True)
    user = "user=root" if os.geteuid() == 0 else ""
    parts = [MAIN.format(state=state, logs=logs, user=user)]
    for priority, group, is_service in ((1, "services", True), (2, "rollcall", False)):
        members = {n: one for n, one in programs.items() if one.is_service == is_service}
        for name, program in members.items():
            parts.append(_section(name, program, logs=logs, priority=priority))
        if members:
            names = ",".join(members)
            parts.append(GROUP.format(name=group, programs=names, priority=priority))
    private_write(_configuration(state), "".join(parts))


def start(state: Path, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Starts supervisord, which runs all programs with these variables and ignores Ctrl-C."""
    return subprocess.Popen(
        [str(BIN / SUPERVISORD), f"--configuration={_configuration(state)}"],
        cwd=ROOT,
        env={**variables, **marks(state, SUPERVISORD)},
        start_new_session=True,
    )


def _configuration(state: Path) -> Path:
    return state / "supervisord.conf"


def _section(name: str, program: Program, *, logs: Path, priority: int) -> str:
    variables = {**program.variables, PROGRAM: name}
    return SECTION.format(
        name=name,
        command=_escaped(shlex.join(program.command)),
        root=ROOT,
        environment=",".join(f'{key}="{_escaped(value)}"' for key, value in variables.items()),
        priority=priority,
        stop_signal=program.stop_signal.name.removeprefix("SIG"),
        stop_within_s=program.stop_within_s,
        logs=logs,
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
