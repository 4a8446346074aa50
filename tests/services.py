"""Pytest plugin: the embedded PostgreSQL and Valkey of the tests, up before Django's settings
are read. They live in var/test and stay up only while tests run.

With `-n` each worker of pytest-xdist has its own, in a folder of its own, and the process that
leads them has none. With ROLLCALL_TEST_DATABASE_URL, tests that need only a database use that one,
as it is, in one process.
"""

import fcntl
import logging
import os
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest

from scripts.processes import ROOT
from scripts.services import Endpoints, Services

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
STATE = Path(os.environ.get("ROLLCALL_TEST_STATE", ROOT / "var" / "test")) / WORKER

STATE.mkdir(parents=True, exist_ok=True)
EXTERNAL = os.environ.get("ROLLCALL_TEST_DATABASE_URL", "")
services = Services(STATE)
# For what a process does not use.
NOWHERE = "postgres://127.0.0.1:1/none"
NO_VALKEY = "redis://127.0.0.1:1/0"
endpoints = Endpoints(NOWHERE, NOWHERE, NOWHERE, NO_VALKEY)
held: IO[str] | None = None


def own_environment() -> dict[str, str]:
    """The environment of a command that uses the services of this process. Our own may have lost
    their addresses: the stack takes them away, so that it starts services itself."""
    own = {"DATABASE_URL": endpoints.database_url, "VALKEY_URL": endpoints.valkey_url}
    return {**os.environ, **own}


def _lock() -> IO[str]:
    """Held until this process ends: one run at a time uses the folder."""
    file = (STATE / "pytest.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise pytest.UsageError(
            f"Another test run uses {STATE}; wait for it, or set ROLLCALL_TEST_STATE to a folder "
            "for this one."
        ) from None
    return file


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Before pytest-django's own, which reads the settings."""
    global endpoints, held
    for variable in ("DATABASE_URL", "VALKEY_URL", "INGEST_STREAM_URL"):
        os.environ.pop(variable, None)
    leads = early_config.known_args_namespace.numprocesses and not WORKER
    if EXTERNAL and leads:
        raise pytest.UsageError(
            "ROLLCALL_TEST_DATABASE_URL is one database, and -n makes several processes, which "
            "would undo each other's work in it; leave out one of them."
        )
    if EXTERNAL:
        endpoints = Endpoints(EXTERNAL, EXTERNAL, EXTERNAL, NO_VALKEY)
    elif not leads:
        held = _lock()
        endpoints = services.up()
    os.environ["DATABASE_URL"] = endpoints.database_url
    # The stack under test has Valkey's database 0, tests inside this process have 1.
    os.environ["VALKEY_URL"] = endpoints.valkey_url.removesuffix("/0") + "/1"
    os.environ["STATIC_ROOT"] = str(STATE / "static")  # the stack collects, others read there
    os.environ["SECRET_KEY"] = "only for tests, long enough for every signer in the project"
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    # Pytest has closed what the handlers write to.
    logging.getLogger("scripts.services").setLevel(logging.WARNING)
    if held:
        services.down()
