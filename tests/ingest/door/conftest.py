import pytest
from django.conf import LazySettings


@pytest.fixture
def keys_not_remembered(settings: LazySettings) -> None:
    """A limit that a test changes applies at once."""
    settings.INGEST_KEY_CACHE_S = 0
