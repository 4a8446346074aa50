import pytest
from django.conf import LazySettings


@pytest.fixture(autouse=True)
def quick(settings: LazySettings) -> None:
    settings.INGEST_DRAIN_RUN_S = 0.1
