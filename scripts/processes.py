"""The processes that make up Rollcall: their command lines and their environment."""

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


def commands(addresses: Addresses) -> dict[str, list[str]]:
    """The command line of each process, by its name; to be run in ROOT."""
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
        "worker": [
            *(str(BIN / "celery"), "-A", "config", "worker"),
            "--concurrency=2",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ],
        "beat": [
            *(str(BIN / "celery"), "-A", "config", "beat"),
            "--loglevel=WARNING",
            "--max-interval=1",
            "--pidfile=",
        ],
    }


def secret_key(state: Path) -> str:
    """The installation's secret, made at the first start and kept in the state folder."""
    file = state / "secret_key"
    if not file.exists():
        state.mkdir(parents=True, exist_ok=True)
        private_write(file, secrets.token_urlsafe(48))
    return file.read_text()


def environment(
    base: Mapping[str, str], *, state: Path, database_url: str, valkey_url: str
) -> dict[str, str]:
    """The variables of every process, on top of `base`; what `base` sets stays."""
    given = {
        "DATABASE_URL": database_url,
        "VALKEY_URL": valkey_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
    }
    if "SECRET_KEY" not in base:
        given["SECRET_KEY"] = secret_key(state)
    return {**base, **given}
