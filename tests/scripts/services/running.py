"""Running services, what they have stored, and who starts them."""

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg
import redis

from scripts.services import Endpoints, Name, Services
from scripts.services.account import Account
from scripts.services.ports import ADDRESS

ROOT = Path(__file__).parents[3]
AS_ROOT = os.geteuid() == 0
NAMES: list[Name] = ["postgres", "valkey"]


def database(endpoints: Endpoints) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(endpoints.database_url, autocommit=True)


def value(endpoints: Endpoints, query: str) -> Any:
    with database(endpoints) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def cache(endpoints: Endpoints) -> "redis.Redis":
    return redis.Redis.from_url(endpoints.valkey_url, decode_responses=True)


def write(endpoints: Endpoints, word: str) -> None:
    """Leave `word` in both services."""
    with database(endpoints) as connection:
        connection.execute("create table if not exists words (word text)")
        connection.execute("insert into words values (%s)", (word,))
    with closing(cache(endpoints)) as valkey:
        valkey.xadd("words", {"word": word})


def words(endpoints: Endpoints) -> tuple[set[str], set[str]]:
    """What PostgreSQL and Valkey have stored."""
    with database(endpoints) as connection:
        stored = {row[0] for row in connection.execute("select word from words")}
    with closing(cache(endpoints)) as valkey:
        entries = cast(list[tuple[str, dict[str, str]]], valkey.xrange("words"))
    return stored, {fields["word"] for _, fields in entries}


def answers(endpoints: Endpoints) -> bool:
    try:
        words(endpoints)
    except (psycopg.OperationalError, redis.ConnectionError):
        return False
    return True


def kept(endpoints: Endpoints, word: str) -> bool:
    stored, streamed = words(endpoints)
    return word in stored and word in streamed


def pids(services: Services) -> dict[str, int | None]:
    return {status.name: status.pid for status in services.status()}


def ports(services: Services) -> dict[str, int | None]:
    return {status.name: status.port for status in services.status()}


def listen(port: int = 0) -> socket.socket:
    """Take a port, as another program would."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((ADDRESS, port))
    taken.listen()
    return taken


# CAP_SYS_PTRACE, which root in a container does not have: it allows looking into all processes.
IN_A_CONTAINER = """
import ctypes, os, sys
CAP_SYS_PTRACE, PR_CAPBSET_DROP = 19, 24
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def command(
    *arguments: str, state: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.services", "--state", str(state), *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def run_as_ordinary_user(act: Callable[[], None], home: Path) -> None:
    """Run `act` in a process of an ordinary user whose home is `home`.

    The process is forked, because that user may not be able to run this Python.
    """

    def become_and_act() -> None:
        os.environ.pop("ROLLCALL_CACHE", None)
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ["HOME"] = str(home)
        os.chdir("/")
        if AS_ROOT:
            account = Account.current()
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        act()

    child = multiprocessing.get_context("fork").Process(target=become_and_act)
    child.start()
    child.join()
    assert child.exitcode == 0


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
