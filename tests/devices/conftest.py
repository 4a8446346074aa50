from collections.abc import Iterator

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def nobody_tried_yet() -> Iterator[None]:
    """Clears failed sign-ins and request counts before and after a test."""
    cache.clear()
    yield
    cache.clear()
