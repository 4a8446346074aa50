"""Mosquitto, the MQTT broker, for tests and `make run`: Debian's, unpacked into the cache."""

import signal
import socket
import subprocess
from pathlib import Path

from scripts.processes import ROOT
from scripts.services import ServiceError
from scripts.services.account import Account
from scripts.services.packages import Bundle, bundle_install
from scripts.services.ports import ADDRESS, port_choose
from scripts.services.process import wait_until
from scripts.services.state import State, private_write

MOSQUITTO = Bundle(
    name="mosquitto",
    wanted=("mosquitto",),
    programs=("usr/sbin",),
    unused=("adduser", "init-system-helpers", "sysvinit-utils"),
)
NAME = "mosquitto"
BRIDGE_USER = "rollcall"
DEFAULT_PORT = 1883
TIMEOUT_S = 30


class Mosquitto:
    """A broker whose sessions, configuration and access files are in the state folder `state`.

    Its configuration is docker/mosquitto.conf with the port and the folders replaced.
    """

    def __init__(self, state: Path) -> None:
        self._state = State(state)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = state / "log" / "mosquitto.log"
        with self._state.lock():
            self._account = Account.current()
            record = self._state.record(NAME)
            record.port = port_choose(record.port, DEFAULT_PORT)
            self._state.remember(NAME, record)
            self.home = self._state.home(NAME, self._account)
        self.port = record.port
        self.url = f"mqtt://{BRIDGE_USER}:{record.password}@{ADDRESS}:{self.port}"

    @property
    def access(self) -> Path:
        """The folder of the access files, for `manage.py mqtt_acl --write`."""
        return self.home / "access"

    @property
    def pid_file(self) -> Path:
        """The file with its process id, for `manage.py mqtt_acl --reload`."""
        return self.home / "mosquitto.pid"

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None
        return self._process.pid

    @staticmethod
    def erase(state: Path) -> None:
        """Removes the data of a stopped broker, wherever it is."""
        State(state).home_remove(NAME)

    def command(self) -> list[str]:
        """Writes the configuration; returns the command line that runs it in the foreground."""
        for folder in (self.access, self.home / "data"):
            folder.mkdir(mode=0o700, exist_ok=True)
            self._account.give(folder)
        text = (ROOT / "docker" / "mosquitto.conf").read_text()
        text = text.replace("listener 1883", f"listener {self.port} {ADDRESS}")
        text = text.replace("/mosquitto/", f"{self.home}/")
        text += f"pid_file {self.pid_file}\n"
        private_write(self.home / "mosquitto.conf", text, self._account)
        program = bundle_install(MOSQUITTO) / "usr/sbin/mosquitto"
        return self._account.command([str(program), "-c", str(self.home / "mosquitto.conf")])

    def start(self) -> None:
        """Starts the broker; returns when it listens. Needs the access files. Raises
        ServiceError if it does not start."""
        command = self.command()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.home, stdout=output, stderr=output, start_new_session=True
            )
        if not wait_until(lambda: self._listens() or not self._runs(), TIMEOUT_S):
            raise ServiceError(f"mosquitto does not listen after {TIMEOUT_S} s; see {self.log}.")
        if not self._runs():
            raise ServiceError(f"mosquitto did not start; see {self.log}.")

    def stop(self) -> None:
        """Stops it with SIGTERM, so that it writes its sessions and messages to disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it with SIGKILL; returns when it is dead."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(TIMEOUT_S)
            self._process = None

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _listens(self) -> bool:
        try:
            with socket.create_connection((ADDRESS, self.port), timeout=1):
                return True
        except OSError:
            return False
