"""What tests that kill services leave behind."""

from collections.abc import Iterator

import pytest
from django.db import connections


@pytest.fixture(autouse=True)
def own_connections_end() -> Iterator[None]:
    """This process's connections may be to a server that was killed; later tests get new ones."""
    yield
    connections.close_all()
