"""Pytest plugin: the embedded PostgreSQL and Valkey of the tests, up before Django's settings
are read. They live in var/test and stay up only while tests run."""

import fcntl
import logging
import os
from pathlib import Path

import pytest

from scripts.processes import ROOT
from scripts.services import Services

STATE = Path(os.environ.get("ROLLCALL_TEST_STATE", ROOT / "var" / "test"))

STATE.mkdir(parents=True, exist_ok=True)
_lock = (STATE / "pytest.lock").open("w")
try:
    fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    pytest.exit(
        f"Another test run uses {STATE}; wait for it, or set ROLLCALL_TEST_STATE to a folder "
        "for this one.",
        returncode=4,
    )
for variable in ("DATABASE_URL", "VALKEY_URL", "INGEST_STREAM_URL"):
    os.environ.pop(variable, None)
services = Services(STATE)
endpoints = services.up()
os.environ["DATABASE_URL"] = endpoints.database_url
# The stack under test has Valkey's database 0, tests inside this process have 1.
os.environ["VALKEY_URL"] = endpoints.valkey_url.removesuffix("/0") + "/1"
os.environ["SECRET_KEY"] = "only for tests, long enough for every signer in the project"


def pytest_unconfigure(config: pytest.Config) -> None:
    # Pytest has closed what the handlers write to.
    logging.getLogger("scripts.services").setLevel(logging.WARNING)
    services.down()
