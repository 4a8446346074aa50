"""Fixtures of the door."""

import pytest
from django.conf import LazySettings

from devices.fleet.keys import gateway_credential_issue
from ingest.door import directory as directories
from ingest.mqtt import batch as batches
from tests.conftest import Fleet
from tests.ingest.storage.draining import moment


@pytest.fixture(autouse=True)
def one_shard(settings: LazySettings) -> None:
    """Reads back what a test has accepted."""
    settings.INGEST_SHARDS = 1


@pytest.fixture(autouse=True)
def new_moment() -> None:
    """Clears the stream's records of accepted messages, which otherwise last for minutes."""
    moment.cache_clear()


@pytest.fixture
def fresh_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets device names that an earlier test has seen."""
    fresh = directories.Directory()
    monkeypatch.setattr(directories, "directory", fresh)
    monkeypatch.setattr(batches, "directory", fresh)
    monkeypatch.setattr("ingest.door.accept.directory", fresh)
    monkeypatch.setattr("ingest.door.refused.directory", fresh)


@pytest.fixture
def gateway(acme: Fleet) -> str:
    return gateway_credential_issue(tenant=acme.tenant).key
