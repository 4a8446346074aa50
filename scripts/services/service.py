"""What PostgreSQL and Valkey have in common: starting, awaiting, stopping and killing them."""

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from threading import Thread
from typing import ClassVar, NoReturn

from scripts.services import process
from scripts.services.account import Account
from scripts.services.errors import ServiceError
from scripts.services.marks import marks_in
from scripts.services.packages import Programs
from scripts.services.state import Record

LOG_LIMIT_BYTES = 8_000_000
STOP_TIMEOUT_S = 120.0
CLEAR_TIMEOUT_S = 10.0


class Service(ABC):
    """One service of one state folder. `home` is its folder, `record` its stored record."""

    name: ClassVar[str]
    program: ClassVar[str]
    variable: ClassVar[str]
    default_port: ClassVar[int]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, home: Path, *, account: Account, record: Record) -> None:
        self.home = home
        self.account = account
        self.record = record

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The data folder: the working folder of the service's processes."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """The file that says why the service did not start."""

    @abstractmethod
    def url(self, port: int) -> str:
        """The address for clients, with the password."""

    @abstractmethod
    def prepare(self, programs: Programs) -> None:
        """Prepare the data folder for a start; existing data is kept."""

    @abstractmethod
    def command(self, programs: Programs, port: int) -> list[str]:
        """Write the settings; return the command line that runs the service in the foreground."""

    @abstractmethod
    def await_ready(self, programs: Programs, port: int) -> None:
        """Return once the service answers clients. ServiceError if it does not."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the service's programs, without the person's own settings."""
        return {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.home)}

    def launch(self, programs: Programs, port: int) -> None:
        """Start the service in a new session; `await_ready` says whether it comes up."""
        command = self.command(programs, port)
        self.log_trim()
        with self.log.open("ab") as output:
            self.account.give(self.log)
            server = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self.account.identity,
            )
        # Reaps it whenever it ends, so that it does not stay as a zombie.
        Thread(target=server.wait, daemon=True).start()

    def become(self, programs: Programs, port: int) -> NoReturn:
        """Replace this process by the service, in the foreground, keeping its marks."""
        self.log_trim()
        command = self.account.command(self.command(programs, port))
        os.chdir(self.folder)
        os.execvpe(command[0], command, {**marks_in(os.environ), **self.environment})

    @property
    def pid(self) -> int | None:
        """The process id of the service; None if it is not running."""
        leader = process.leader_find(self.program, self.folder, self.account)
        return leader.pid if leader else None

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Shut the service down cleanly; returns when its last process has ended."""
        if (pid := self.pid) is not None:
            process.signal_send(pid, self.stop_signal)
        if not process.wait_until(lambda: not self._processes(), timeout_s):
            raise ServiceError(
                f"{self.name} is still running after {timeout_s:.0f} s; see {self.log}."
            )

    def clear(self) -> None:
        """End what is left of an earlier start, cleanly if possible, else by killing it."""
        try:
            self.stop(timeout_s=CLEAR_TIMEOUT_S)
        except ServiceError:
            self.kill()

    def kill(self) -> None:
        """Kill all processes of the service at once; returns when they are dead."""
        if not process.processes_kill(self.program, self.folder, self.account):
            raise ServiceError(f"{self.name} (process {self.pid}) cannot be killed.")

    def kill_left_behind(self) -> None:
        """Kill processes that still run in a removed data folder at this path."""
        removed = Path(f"{self.folder}{process.DELETED}")
        process.processes_kill(self.program, removed, self.account)

    def log_trim(self) -> None:
        """Bound the log: a large one is renamed to `….1`, replacing the previous `….1`."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))

    def failure(self, what: str) -> ServiceError:
        """The error that says what failed, with the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        last = " / ".join(line.strip() for line in lines[-2:]) or "nothing"
        return ServiceError(f"{self.name} {what}; {self.log} ends with: {last}")

    def _processes(self) -> list[process.Process]:
        return process.processes_find(self.program, self.folder, self.account)

    def _run(
        self, argv: list[str], *, text: str = "", secret: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the service's account, without the person's own settings."""
        return subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**self.environment, **(secret or {})},
            start_new_session=True,
            **self.account.identity,
        )
