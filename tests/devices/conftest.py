from collections.abc import Iterator

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def nobody_tried_yet() -> Iterator[None]:
    """Failed attempts to sign in and what was counted of requests, forgotten before and after."""
    cache.clear()
    yield
    cache.clear()
