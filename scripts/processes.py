"""The processes that make up Rollcall: their command lines and environment variables."""

import secrets
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from scripts.services import Endpoints
from scripts.services.state import private_write

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Addresses:
    """Where the two servers listen."""

    host: str
    portal_port: int
    ingest_port: int

    @property
    def portal_url(self) -> str:
        return f"http://{self.host}:{self.portal_port}"

    @property
    def ingest_url(self) -> str:
        return f"http://{self.host}:{self.ingest_port}"


WORKER_COMMAND = [
    *(str(BIN / "celery"), "-A", "config", "worker"),
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
    "--loglevel=WARNING",
]


def commands(addresses: Addresses) -> dict[str, list[str]]:
    """The command line of each process, by name; run them in ROOT."""
    return {
        "portal": [
            str(BIN / "uvicorn"),
            "config.asgi:application",
            f"--host={addresses.host}",
            f"--port={addresses.portal_port}",
            "--lifespan=off",
            "--no-access-log",
            "--log-level=warning",
            "--timeout-graceful-shutdown=3",
        ],
        "ingest": [
            str(BIN / "granian"),
            "config.wsgi:application",
            "--interface=wsgi",
            f"--host={addresses.host}",
            f"--port={addresses.ingest_port}",
            "--workers=1",
            "--blocking-threads=64",
            "--no-ws",
            "--log-level=warning",
        ],
        # One process per shard, which the settings set.
        "drain": [*WORKER_COMMAND, "--queues=drain", "--hostname=drain@%h"],
        # At least two, so that the sweep continues while a long task runs.
        "ops": [*WORKER_COMMAND, "--queues=ops", "--hostname=ops@%h", "--concurrency=2"],
        "beat": [
            *(str(BIN / "celery"), "-A", "config", "beat"),
            "--loglevel=WARNING",
            "--max-interval=1",
            "--pidfile=",
        ],
    }


# By default, glibc keeps up to 16 arenas for threads and returns little of what they free, so the
# servers' memory grew as long as they were busy. With few arenas, and large blocks mapped one by
# one, freed memory goes back to the system.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(256 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 1024 * 1024),
}


def secret_key(state: Path) -> str:
    """The installation's SECRET_KEY, created at the first start and kept in the state folder."""
    file = state / "secret_key"
    if not file.exists():
        state.mkdir(parents=True, exist_ok=True)
        private_write(file, secrets.token_urlsafe(48))
    return file.read_text()


# Each may be given as a file instead, in a variable named `…_FILE`.
SECRETS = ("SECRET_KEY", "DATABASE_URL", "DATABASE_WEB_URL", "DATABASE_WORKER_URL", "VALKEY_URL")


def secrets_read(variables: MutableMapping[str, str]) -> None:
    """Reads secrets given as files into the variables themselves.

    Raises OSError if a file cannot be read.
    """
    for name in SECRETS:
        if name not in variables and (file := variables.pop(f"{name}_FILE", None)):
            variables[name] = Path(file).read_text().rstrip("\r\n")


# The database login of each process. Everything else, such as `manage.py`, logs in as the owner.
WEB, WORKER = "DATABASE_WEB_URL", "DATABASE_WORKER_URL"
LOGINS = {
    **{"portal": WEB, "ingest": WEB, "fleet": WEB},
    **{"drain": WORKER, "ops": WORKER, "beat": WORKER, "mqtt_bridge": WORKER},
    "mqtt_access": WORKER,
}


def environment(base: Mapping[str, str], *, state: Path, endpoints: Endpoints) -> dict[str, str]:
    """The variables that all processes have in common, on top of `base`."""
    given = {
        "DATABASE_URL": endpoints.database_url,
        WEB: endpoints.web_url,
        WORKER: endpoints.worker_url,
        "VALKEY_URL": endpoints.valkey_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
    }
    if "STATIC_ROOT" not in base:
        given["STATIC_ROOT"] = str(state / "static")
    if "EMAIL_URL" not in base:
        given["EMAIL_URL"] = "consolemail://"  # into the log of the process that sends
    if "SECRET_KEY" not in base:
        given["SECRET_KEY"] = secret_key(state)
    return {**ALLOCATOR, **base, **given}


def process_environment(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of one process, which knows only its own database login."""
    return {**without_database(env), "DATABASE_URL": env[LOGINS[name]]}


def without_database(env: Mapping[str, str]) -> dict[str, str]:
    """The variables without any database address."""
    return {key: value for key, value in env.items() if key not in ("DATABASE_URL", WEB, WORKER)}
