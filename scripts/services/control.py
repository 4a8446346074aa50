"""Controls the embedded services of one clone."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from scripts.services.account import Account
from scripts.services.errors import ServiceError
from scripts.services.packages import Programs, programs_install
from scripts.services.ports import port_choose, port_is_free
from scripts.services.postgres import WEB_ROLE, WORKER_ROLE, Postgres
from scripts.services.service import Service
from scripts.services.state import Record, State
from scripts.services.valkey import Valkey

logger = logging.getLogger(__name__)

Name = Literal["postgres", "valkey"]
KINDS: dict[Name, type[Service]] = {"postgres": Postgres, "valkey": Valkey}
LAUNCH_ATTEMPTS = 3


@dataclass(frozen=True)
class Endpoints:
    """The addresses for clients, `postgres://…` and `redis://…`, with passwords.

    `database_url` logs in as the owner of the tables, `web_url` as a server process, `worker_url`
    as a worker.
    """

    database_url: str
    web_url: str
    worker_url: str
    valkey_url: str


@dataclass(frozen=True)
class Status:
    """The status of one service. `external` if its address was given in the environment."""

    name: Name
    external: bool
    running: bool
    pid: int | None
    port: int | None
    home: Path | None


class Services:
    """PostgreSQL and Valkey of the state folder `state`.

    A service whose address is set in the environment (`DATABASE_URL`, `VALKEY_URL`) is not started.
    All methods raise ServiceError with a message for the user.
    """

    def __init__(self, state: Path) -> None:
        self.state = State(state)

    def up(self) -> Endpoints:
        """Starts the services that are not running; returns when both answer."""
        for name in KINDS:
            if name in self.embedded():
                self.start(name)
            else:
                logger.info("%s: not started because %s is set", name, KINDS[name].variable)
        return self.endpoints()

    def embedded(self) -> list[Name]:
        """The services whose address was not given in the environment."""
        return [name for name in KINDS if not self._external_url(name)]

    def down(self) -> None:
        """Shuts both services down cleanly. Does nothing for one that is not running."""
        for name in KINDS:
            self.stop(name)

    def endpoints(self) -> Endpoints:
        """The addresses of both services. Raises ServiceError if one has never been started."""
        owner = self._url("postgres")
        if self._external_url("postgres"):
            web = os.environ.get("DATABASE_WEB_URL") or owner
            worker = os.environ.get("DATABASE_WORKER_URL") or owner
        else:
            record = self.state.record("postgres")
            web = _with_login(owner, WEB_ROLE, record.web_password)
            worker = _with_login(owner, WORKER_ROLE, record.worker_password)
        return Endpoints(owner, web, worker, self._url("valkey"))

    def status(self) -> list[Status]:
        """The status of each service."""
        return [self._status(name) for name in KINDS]

    def start(self, name: Name) -> None:
        """Starts the service, on its previous port if that is free; returns when it answers."""
        programs = programs_install()
        with self.state.lock():
            service = self._service(name, programs)
            record = service.record
            if service.pid is not None and record.port is not None:
                logger.info("%s: already running on port %d", name, record.port)
                # Stored first, because `await_ready` may give a role its password.
                self.state.remember(name, record)
                service.await_ready(programs, record.port)
            else:
                service.stop()
                port = self._launch(service, programs, record)
                logger.info("%s: started on port %d", name, port)
                record.port, record.pid, record.url = port, service.pid, service.url(port)
                self.state.remember(name, record)

    def become(self, name: Name) -> NoReturn:
        """Replaces this process with the service, in the foreground, on its previous port.

        First ends what is left from an earlier start. Replacing the process releases the lock.
        """
        programs = programs_install()
        with self.state.lock():
            service = self._service(name, programs)
            if service.record.port is None:
                raise ServiceError(f"{name} has not been started; run `up` first.")
            service.clear()
            service.prepare(programs)
            service.record.pid = os.getpid()
            self.state.remember(name, service.record)
            service.become(programs, service.record.port)

    def stop(self, name: Name) -> None:
        """Shuts the service down cleanly, so that everything written is on disk."""
        self._end(name, kill=False)

    def kill(self, name: Name) -> None:
        """Kills the service and all its children (SIGKILL); returns when they are dead."""
        self._end(name, kill=True)

    def erase(self) -> None:
        """Kills both services and removes all their data, even outside the state folder."""
        for name in KINDS:
            self.kill(name)
            with self.state.lock():
                self.state.home_remove(name)
        self.state.forget()

    def _service(self, name: Name, programs: Programs) -> Service:
        """The service; creates its folder if necessary."""
        account = Account.current()
        _check_reach(account, programs)
        home = self.state.home(name, account)
        return KINDS[name](home, account=account, record=self.state.record(name))

    def _launch(self, service: Service, programs: Programs, record: Record) -> int:
        # Saved first: without its password, the data would be useless.
        self.state.remember(service.name, record)
        service.prepare(programs)
        for attempt in range(1, LAUNCH_ATTEMPTS + 1):
            port = port_choose(record.port, service.default_port)
            try:
                service.launch(programs, port)
                service.await_ready(programs, port)
                break
            except ServiceError:
                # Another process may have taken the port in the meantime.
                if port_is_free(port) or attempt == LAUNCH_ATTEMPTS:
                    raise
        return port

    def _end(self, name: Name, *, kill: bool) -> None:
        if self.state.home_find(name) is None:
            return
        with self.state.lock():
            service = self._service_find(name)
            if service is None or service.pid is None:
                return
            if kill:
                service.kill()
            else:
                service.stop()
            service.record.pid = None
            self.state.remember(name, service.record)
        logger.info("%s: %s", name, "killed" if kill else "stopped")

    def _service_find(self, name: Name) -> Service | None:
        home = self.state.home_find(name)
        if home is None:
            return None
        return KINDS[name](home, account=Account.current(), record=self.state.record(name))

    def _status(self, name: Name) -> Status:
        external = bool(self._external_url(name))
        service = self._service_find(name)
        if service is None:
            return Status(name, external, external, None, None, None)
        pid = service.pid
        running = external or pid is not None
        return Status(name, external, running, pid, service.record.port, service.home)

    def _url(self, name: Name) -> str:
        url = self._external_url(name) or self.state.record(name).url
        if url is None:
            raise ServiceError(f"{name} has not been started; run `up` first.")
        return url

    def _external_url(self, name: Name) -> str | None:
        return os.environ.get(KINDS[name].variable) or None


def _with_login(url: str, role: str, password: str) -> str:
    """The same address with a different login."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}:{password}@{rest.rpartition('@')[2]}"


def _check_reach(account: Account, programs: Programs) -> None:
    if not account.can_enter(programs.root):
        raise ServiceError(
            f"The user {account.name}, who runs the services, cannot read {programs.root}. Set "
            "ROLLCALL_CACHE to a folder that everybody can read."
        )
