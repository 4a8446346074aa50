"""PostgreSQL with TimescaleDB."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from scripts.services import process
from scripts.services.packages import Programs
from scripts.services.ports import ADDRESS
from scripts.services.service import Service
from scripts.services.state import private_write

DATABASE = "rollcall"
ROLE = "rollcall_owner"
WEB_ROLE = "rollcall_web"
WORKER_ROLE = "rollcall_worker"
SUPERUSER = "postgres"
START_TIMEOUT_S = 300
SETTINGS_FILE = "rollcall.conf"
# The whole path may have 107 bytes, and the socket's name takes up to 15.
LONGEST_SOCKET_FOLDER = 90

# Rewritten at each start, so that changes in a newer version take effect.
SETTINGS = """\
# Written by scripts.services at each start: changes here are lost. Use ALTER SYSTEM.
listen_addresses = '{address}'
port = {port}
unix_socket_directories = '{sockets}'
password_encryption = 'scram-sha-256'
max_connections = 100

shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
# The Apache edition has no background jobs; each database would run a scheduler for nothing.
timescaledb.max_background_workers = 0
max_worker_processes = 4
max_parallel_workers = 2
max_parallel_workers_per_gather = 1
max_parallel_maintenance_workers = 1
max_logical_replication_workers = 0
jit = off

# shared_buffers is taken from the system only as it is used.
shared_buffers = 256MB
effective_cache_size = 1GB
work_mem = 8MB
maintenance_work_mem = 128MB
random_page_cost = 1.1
# A query may lock each chunk of a hypertable.
max_locks_per_transaction = 256

fsync = on
synchronous_commit = on
wal_compression = lz4
max_wal_size = 4GB
min_wal_size = 128MB
checkpoint_timeout = 15min

timezone = 'UTC'
log_timezone = 'UTC'
# One file a weekday, started afresh a week later.
logging_collector = on
log_directory = '../log'
log_filename = 'postgres-%a.log'
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_checkpoints = off
"""

# `\\gexec` runs what the query returns, which is nothing if the object exists.
PROVISION = """\
select 'alter role rollcall rename to {role}'
 where exists (select from pg_roles where rolname = 'rollcall') \\gexec
select format('create role %I', name) from unnest(array['{role}', '{web}', '{worker}']) name
 where not exists (select from pg_roles where rolname = name) \\gexec
alter role {web} login noinherit password '{web_password}';
alter role {web} set search_path = scoped, public;
alter role {worker} login noinherit password '{worker_password}';
alter role {role} login nosuperuser createdb createrole password '{password}';
grant pg_monitor to {role};
\\connect template1
create extension if not exists timescaledb;
\\connect {superuser}
select 'create database {database} owner {role}'
 where not exists (select from pg_database where datname = '{database}') \\gexec
"""


class Postgres(Service):
    """The database. The role `rollcall_owner` may create databases and roles but is no superuser,
    so TimescaleDB is installed in template1 and thereby in every new database. Processes log in as
    `rollcall_web` and `rollcall_worker`, which the migrations grant their rights."""

    name = "postgres"
    program = "postgres"
    variable = "DATABASE_URL"
    default_port = 5432
    stop_signal = signal.SIGINT

    @property
    def folder(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "start.log"

    @property
    def sockets(self) -> Path | None:
        """The folder of its Unix socket, over which an answer takes half as long as over TCP.

        None if the path is too long for a socket: then there is only TCP.
        """
        folder = self.home / "run"
        return folder if len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER else None

    def url(self, port: int) -> str:
        login = f"postgres://{ROLE}:{self.record.password}"
        if self.sockets is None:
            return f"{login}@{ADDRESS}:{port}/{DATABASE}"
        return f"{login}@:{port}/{DATABASE}?{urlencode({'host': self.sockets}, safe='/')}"

    def prepare(self, programs: Programs) -> None:
        self.kill_left_behind()
        self._clear_sockets()
        if not self.folder.exists():
            self._create(programs)
        else:
            self._clear_stale_lock()
            if not self.record.password_applied:
                self._replace_password(programs)
        self.record.password_applied = True

    def command(self, programs: Programs, port: int) -> list[str]:
        settings = SETTINGS.format(address=ADDRESS, port=port, sockets=self.sockets or "")
        private_write(self.folder / SETTINGS_FILE, settings, self.account)
        return [programs.postgres("postgres"), "-D", str(self.folder)]

    def await_ready(self, programs: Programs, port: int) -> None:
        process.wait_until(lambda: self._says_ready() or self.pid is None, START_TIMEOUT_S)
        if self.pid is None:
            raise self.failure("did not start")
        if not self._answers(programs, port):
            self._provision(programs, port)
        if not self._answers(programs, port):
            raise self.failure("does not answer")

    def _create(self, programs: Programs) -> None:
        unfinished = self.home / "data.unfinished"
        process.processes_kill(self.program, unfinished, self.account)
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self.home / "password"
        private_write(password_file, self.record.superuser_password, self.account)
        done = self._run(
            [
                programs.postgres("initdb"),
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ]
        )
        password_file.unlink()
        if done.returncode != 0:
            private_write(self.log, done.stdout + done.stderr, self.account)
            raise self.failure("could not be created")
        with (unfinished / "postgresql.conf").open("a") as file:
            file.write(f"include_if_exists = '{SETTINGS_FILE}'\n")
        unfinished.rename(self.folder)

    def _clear_sockets(self) -> None:
        # Sockets left by a crash would prevent a start, like the lock below.
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)
            self.sockets.mkdir(mode=0o700)
            self.account.give(self.sockets)

    def _clear_stale_lock(self) -> None:
        # After a crash its process id may belong to another process of this account, which
        # PostgreSQL would mistake for a running server.
        if not self._processes():
            (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def _replace_password(self, programs: Programs) -> None:
        statement = f"alter role {SUPERUSER} password '{self.record.superuser_password}'\n"
        command = [programs.postgres("postgres"), "--single", "-j", "-D", str(self.folder)]
        done = self._run([*command, SUPERUSER], text=statement)
        if done.returncode != 0:
            raise self.failure("did not accept its new password")

    def _says_ready(self) -> bool:
        """Whether the server accepts clients, which the last line of this file says."""
        try:
            return (self.folder / "postmaster.pid").read_text().rstrip().endswith("ready")
        except FileNotFoundError:
            return False

    def _answers(self, programs: Programs, port: int) -> bool:
        return all(
            self._psql(programs, port, "select 1", role=role, database=DATABASE).returncode == 0
            for role in (ROLE, WEB_ROLE, WORKER_ROLE)
        )

    def _provision(self, programs: Programs, port: int) -> None:
        self._extension_upgrade(programs, port)
        script = PROVISION.format(
            role=ROLE,
            web=WEB_ROLE,
            worker=WORKER_ROLE,
            database=DATABASE,
            superuser=SUPERUSER,
            password=self.record.password,
            web_password=self.record.web_password,
            worker_password=self.record.worker_password,
        )
        done = self._psql(programs, port, script, role=SUPERUSER, database=SUPERUSER)
        if done.returncode != 0:
            private_write(self.log, done.stderr, self.account)
            raise self.failure("could not be set up")

    def _extension_upgrade(self, programs: Programs, port: int) -> None:
        # Newer packages contain only the newer library, so the extension must be updated before
        # any other statement. A database without the extension answers with an error: ignore it.
        query = "select datname from pg_database where datallowconn"
        names = self._psql(programs, port, query, role=SUPERUSER, database=SUPERUSER).stdout
        for name in names.splitlines():
            update = "alter extension timescaledb update"
            self._psql(programs, port, update, role=SUPERUSER, database=name)

    def _psql(
        self, programs: Programs, port: int, script: str, *, role: str, database: str
    ) -> subprocess.CompletedProcess[str]:
        secret = {
            ROLE: self.record.password,
            WEB_ROLE: self.record.web_password,
            WORKER_ROLE: self.record.worker_password,
            SUPERUSER: self.record.superuser_password,
        }[role]
        return self._run(
            [
                programs.postgres("psql"),
                "--no-psqlrc",
                "--no-password",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                f"--host={ADDRESS}",
                f"--port={port}",
                f"--username={role}",
                f"--dbname={database}",
            ],
            text=script,
            secret={"PGPASSWORD": secret, "PGCONNECT_TIMEOUT": "10"},
        )
