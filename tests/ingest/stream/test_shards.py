import pytest
from django.conf import LazySettings

from ingest.ledger.balances import balance_read, shards_known
from ingest.models import DrainPosition
from ingest.storage.drain import drain_run
from ingest.stream import shards
from telemetry.models import Reading
from tests.conftest import Fleet
from tests.ingest.storage.draining import (
    _encoded,
    append,
    drain,
    ledger,
    reading,
)

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


def test_a_stream_that_begins_anew_is_not_taken_for_the_stored_one(acme: Fleet) -> None:
    append(acme, reading(acme.device, 1))
    drain()
    shards.connection().flushdb()
    shards.connection().xadd(shards.stream_key(0), {"x": "y"}, id="1-1")
    shards.connection().xdel(shards.stream_key(0), "1-1")
    shards.connection().xadd(
        shards.stream_key(0),
        {"d": _encoded(acme, reading(acme.device, 2))},
        id="1-2",
    )

    drain()

    assert Reading.objects.count() == 2


def test_what_shards_beyond_hold_is_counted_and_stored(acme: Fleet, settings: LazySettings) -> None:
    settings.INGEST_SHARDS = 3
    for shard in shards_known():
        drain_run(shard=shard, run_s=0.05)
    for n in range(40):
        append(acme, reading(acme.device, n))
    settings.INGEST_SHARDS = 1
    drain()

    assert shards.held_beyond() == [1, 2]
    assert balance_read().in_flight == 40 - ledger(acme)["stored"] > 0
    assert shards.oldest_waiting_at(shards_known()) is not None
    assert [drain_run(shard=shard, run_s=60) for shard in shards.held_beyond()] == [None, None]
    assert Reading.objects.filter(device=acme.device).count() == 40
    assert ledger(acme)["accepted"] == ledger(acme)["stored"] == 40
    assert balance_read().residual == balance_read().in_flight == 0


def test_a_stream_that_fell_back_loses_nothing(acme: Fleet) -> None:
    append(acme, reading(acme.device, 1))
    drain()
    later = shards.last_id(0).split(b"-")[0]
    DrainPosition.objects.update(entry_id=f"{int(later) + 60_000}-0")
    append(acme, reading(acme.device, 2))

    drain()

    assert Reading.objects.count() == 2
