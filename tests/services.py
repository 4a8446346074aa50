"""Pytest plugin: the embedded PostgreSQL and Valkey of the tests, up before Django's settings
are read. They live in var/test and stay up only while tests run.

With ROLLCALL_TEST_DATABASE_URL, tests that need only a database use that one, as it is.
"""

import fcntl
import logging
import os
from pathlib import Path
from typing import IO

import pytest

from scripts.processes import ROOT
from scripts.services import Endpoints, Services

STATE = Path(os.environ.get("ROLLCALL_TEST_STATE", ROOT / "var" / "test"))

STATE.mkdir(parents=True, exist_ok=True)
EXTERNAL = os.environ.get("ROLLCALL_TEST_DATABASE_URL", "")


def _lock() -> IO[str]:
    """Held until this process ends: one run at a time uses the folder."""
    file = (STATE / "pytest.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pytest.exit(
            f"Another test run uses {STATE}; wait for it, or set ROLLCALL_TEST_STATE to a folder "
            "for this one.",
            returncode=4,
        )
    return file


for variable in ("DATABASE_URL", "VALKEY_URL", "INGEST_STREAM_URL"):
    os.environ.pop(variable, None)
services = Services(STATE)
if EXTERNAL:
    endpoints = Endpoints(EXTERNAL, EXTERNAL, EXTERNAL, "redis://127.0.0.1:1/0")
else:
    _held = _lock()
    endpoints = services.up()
os.environ["DATABASE_URL"] = endpoints.database_url
# The stack under test has Valkey's database 0, tests inside this process have 1.
os.environ["VALKEY_URL"] = endpoints.valkey_url.removesuffix("/0") + "/1"
os.environ["SECRET_KEY"] = "only for tests, long enough for every signer in the project"


def pytest_unconfigure(config: pytest.Config) -> None:
    # Pytest has closed what the handlers write to.
    logging.getLogger("scripts.services").setLevel(logging.WARNING)
    if not EXTERNAL:
        services.down()
