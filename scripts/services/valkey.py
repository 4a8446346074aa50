"""Valkey, configured to keep every acknowledged write."""

import os
import signal
import socket
from pathlib import Path

from scripts.services import process
from scripts.services.packages import Programs
from scripts.services.ports import ADDRESS
from scripts.services.service import Service
from scripts.services.state import private_write

START_TIMEOUT_S = 300

SETTINGS = """\
# Written by scripts.services at each start: changes here are lost.
bind {address}
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
pidfile "{home}/valkey.pid"
logfile "{log}"
loglevel notice

# An acknowledged write survives SIGKILL and loss of power. Writes that arrive together share one
# fsync, so that it stays fast.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-use-rdb-preamble yes
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
save ""

# When memory is full, refuse a write, so that the sender knows, instead of evicting an earlier one.
maxmemory {memory_bytes}
maxmemory-policy noeviction
{more}"""


class Valkey(Service):
    """The stream buffer, broker and channel layer."""

    name = "valkey"
    program = "valkey-server"
    variable = "VALKEY_URL"
    default_port = 6379
    stop_signal = signal.SIGTERM
    # Further lines of the configuration, for subclasses.
    more = ""

    @property
    def folder(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "valkey.log"

    def url(self, port: int) -> str:
        return f"redis://:{self.record.password}@{ADDRESS}:{port}/0"

    def prepare(self, programs: Programs) -> None:
        self.kill_left_behind()
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700)
            self.account.give(self.folder)

    def command(self, programs: Programs, port: int) -> list[str]:
        settings = self.home / "valkey.conf"
        text = SETTINGS.format(
            address=ADDRESS,
            port=port,
            password=self.record.password,
            folder=self.folder,
            home=self.home,
            log=self.log,
            memory_bytes=_memory_bytes() // 4,
            more=self.more,
        )
        private_write(settings, text, self.account)
        return [programs.valkey("valkey-server"), str(settings)]

    def await_ready(self, programs: Programs, port: int) -> None:
        process.wait_until(lambda: self._answers(port) or self.pid is None, START_TIMEOUT_S)
        if self.pid is None:
            raise self.failure("did not start")
        if not self._answers(port):
            raise self.failure("does not answer")

    def _answers(self, port: int) -> bool:
        try:
            with socket.create_connection((ADDRESS, port), timeout=5) as connection:
                connection.sendall(f"AUTH {self.record.password}\r\nPING\r\nQUIT\r\n".encode())
                reply = b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return False
        # While it loads its data, it answers with an error.
        return b"+PONG" in reply


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
