"""A complete Rollcall on free ports with its own database, for tests and benchmarks."""

import atexit
import os
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis

from scripts.processes import BIN, ROOT, Addresses, commands, environment, process_environment
from scripts.services import Endpoints, Name, Services
from scripts.services.ports import port_choose
from scripts.waiting import await_condition, healthy

DATABASE = "stack"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


class Stack:
    """Real services and real processes: `portal`, `ingest`, `drain`, `ops`, `beat`.

    `state` is the folder of the embedded services, `overrides` are settings as environment
    variables. A second stack on the same services needs its own databases: `database` in
    PostgreSQL, `valkey_database` in Valkey. Logs are in `state`/log, those of a second stack in a
    subfolder.
    """

    def __init__(
        self,
        state: Path,
        overrides: Mapping[str, str] | None = None,
        *,
        database: str = DATABASE,
        valkey_database: int = 0,
    ) -> None:
        self.state = state
        self.logs = state / "log" / ("" if database == DATABASE else database)
        self.services = Services(state)
        self.addresses = Addresses("127.0.0.1", port_choose(), port_choose())
        self.portal_url = self.addresses.portal_url
        self.ingest_url = self.addresses.ingest_url
        self.env: dict[str, str] = {}
        self._overrides = dict(overrides or {})
        self._database = database
        self._valkey_database = valkey_database
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        atexit.register(self.stop_all)

    @property
    def database_url(self) -> str:
        return self.env["DATABASE_URL"]

    def up(self) -> None:
        """Creates and migrates a fresh database and starts every process; returns when they
        answer."""
        endpoints = self._in_own_databases(self.services.up())
        redis.Redis.from_url(endpoints.valkey_url).flushdb()
        env = {**os.environ, **self._overrides}
        self.env = environment(env, state=self.state, endpoints=endpoints)
        self.manage("migrate", "--verbosity=0")
        self.manage("collectstatic", "--noinput", "--verbosity=0")
        for name in commands(self.addresses):
            self.start(name)
        self.await_servers()

    def down(self) -> None:
        """Stops every process and the services; the data stays."""
        self.stop_all()
        self.services.down()

    def stop_all(self) -> None:
        """Stops every process, but not the services."""
        for name in list(self._running):
            self.stop(name)

    def start(
        self,
        name: str,
        kind: str | None = None,
        *,
        addresses: Addresses | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a process; returns at once. If its name differs from its kind, say both:
        `start("drain-2", "drain")`. A second server needs its own addresses; `overrides` are
        settings on top of the stack's."""
        kind = kind or name
        log = self.logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._running[name] = subprocess.Popen(
                commands(addresses or self.addresses)[kind],
                cwd=ROOT,
                env=process_environment(kind, {**self.env, **(overrides or {})}),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        """Stops a process as a supervisor would, with SIGTERM."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill(self, name: str) -> None:
        """Kills a process and its children with SIGKILL; returns when they are gone."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def pid(self, name: str) -> int:
        """The process id of a running process, which leads its own process group."""
        return self._running[name].pid

    def kill_service(self, name: Name) -> None:
        """Kills an embedded service with SIGKILL."""
        self.services.kill(name)

    def start_service(self, name: Name) -> None:
        """Starts an embedded service again; returns when it answers."""
        self.services.start(name)

    def await_servers(self) -> None:
        """Returns when both servers answer /health with 200."""
        for url in (self.portal_url, self.ingest_url):
            await_condition(partial(healthy, f"{url}/health"), START_TIMEOUT_S, url)

    def manage(self, *arguments: str) -> str:
        """Runs a management command; returns what it printed."""
        done = subprocess.run(
            [str(BIN / "python"), "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"manage.py {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout

    def _in_own_databases(self, endpoints: Endpoints) -> Endpoints:
        """The addresses of the stack's own databases; recreates the one in PostgreSQL."""
        _recreate_database(endpoints.database_url, self._database)
        return Endpoints(
            _in_database(endpoints.database_url, self._database),
            _in_database(endpoints.web_url, self._database),
            _in_database(endpoints.worker_url, self._database),
            _in_database(endpoints.valkey_url, str(self._valkey_database)),
        )


def _in_database(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _recreate_database(url: str, database: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {database}")
