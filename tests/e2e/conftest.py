"""Cleans up after tests that kill services."""

from collections.abc import Iterator

import pytest
from django.db import connections


@pytest.fixture(autouse=True)
def own_connections_end() -> Iterator[None]:
    """Closes this process's connections, which may be to a killed server."""
    yield
    connections.close_all()
