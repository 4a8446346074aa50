from collections.abc import Iterator
from time import monotonic

import pytest
from django.conf import LazySettings
from redis.exceptions import RedisError

from ingest import nodes, stream
from scripts.services.ports import port_choose
from tests.conftest import Fleet
from tests.ingest.way import append, now, reading


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No client and no absence is remembered from one test to the next."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    nodes.connection.cache_clear()
    nodes._away_until.clear()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_an_append_is_refused_when_nobody_answers(
    acme: Fleet, settings: LazySettings, scheme: str
) -> None:
    settings.INGEST_STREAM_URL = f"{scheme}://127.0.0.1:{port_choose()}"

    for _ in range(2):
        with pytest.raises(stream.StreamAway):
            append(acme, reading(acme.device, now()))


def test_a_shard_that_no_node_has_is_away(acme: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def node_of(shard_key: str) -> nodes.Node:
        raise RedisError(f"no node has {shard_key}")

    monkeypatch.setattr(nodes, "node_of", node_of)
    monkeypatch.setitem(nodes._away_until, "10.0.0.1:6379", monotonic() + 60)

    with pytest.raises(stream.StreamAway, match="no node has"):
        append(acme, reading(acme.device, now()))


def test_an_address_of_a_cluster_that_is_none_is_told_in_words(settings: LazySettings) -> None:
    settings.INGEST_STREAM_URL = settings.VALKEY_URL.replace("redis:", "redis+cluster:")[:-2]

    with pytest.raises(RedisError, match="Cluster mode is not enabled"):
        nodes.connection()


def test_shards_whose_node_is_away_are_not_waited_for(settings: LazySettings) -> None:
    settings.INGEST_STREAM_URL = f"redis://127.0.0.1:{port_choose()}"

    assert stream.held_beyond() == []
    assert nodes.is_away(stream.stream_key(7))


@pytest.mark.usefixtures("valkey")
def test_an_entry_goes_to_another_shard_when_one_is_at_its_mark(
    acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARDS = 2
    settings.INGEST_SHARD_MAX_BYTES = 1000
    stream.connection().hset(stream.waiting_key(0), "bytes", 1000)

    for n in range(5):
        append(acme, reading(acme.device, now()), received_at=now().replace(microsecond=n))

    assert stream.connection().xlen(stream.stream_key(1)) == 5
    assert stream.connection().xlen(stream.stream_key(0)) == 0


@pytest.mark.usefixtures("valkey")
def test_nothing_is_appended_twice_when_the_answer_is_lost(
    acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARDS = 2
    settings.INGEST_STREAM_URL = f"{settings.VALKEY_URL}?socket_timeout=0.2"
    nodes.connection.cache_clear()
    nodes.connection().client_pause(5000, all=False)

    with pytest.raises(stream.StreamAway) as away:
        append(acme, reading(acme.device, now()))

    assert not isinstance(away.value, stream.ShardAway)
    nodes.connection().client_unpause()
    assert sum(stream.connection().xlen(stream.stream_key(shard)) for shard in (0, 1)) <= 1
