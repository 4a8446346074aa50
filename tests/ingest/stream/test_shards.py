import pytest
from django.conf import LazySettings

from ingest.ledger.balances import balance_read
from ingest.stream import shards
from tests.conftest import Fleet
from tests.ingest.storage.draining import append, drain, reading

pytestmark = pytest.mark.usefixtures("valkey")


def test_the_stream_refuses_at_its_mark_and_takes_again_when_drained(
    acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARD_MAX_BYTES = 300
    with pytest.raises(shards.StreamFull):
        for n in range(20):
            append(acme, reading(acme.device, n))

    drain()

    append(acme, reading(acme.device, 50))
    assert balance_read().residual == 0
