from collections.abc import Iterator
from time import monotonic

import pytest
from django.conf import LazySettings
from redis.crc import key_slot
from redis.exceptions import RedisError

from ingest.stream import nodes, shards
from scripts.services.ports import port_choose
from tests.conftest import Fleet
from tests.e2e.cluster import Cluster
from tests.ingest.way import append, now, reading

BEYOND = range(1, 64)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets clients and unavailable nodes between tests."""
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
        with pytest.raises(shards.StreamAway):
            append(acme, reading(acme.device, now()))


def test_a_shard_that_no_node_has_is_away(acme: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def node_of(shard_key: str) -> nodes.Node:
        raise RedisError(f"no node has {shard_key}")

    monkeypatch.setattr(nodes, "node_of", node_of)
    monkeypatch.setitem(nodes._away_until, "10.0.0.1:6379", monotonic() + 60)

    with pytest.raises(shards.StreamAway, match="no node has"):
        append(acme, reading(acme.device, now()))


def test_an_address_of_a_cluster_that_is_none_is_told_in_words(settings: LazySettings) -> None:
    settings.INGEST_STREAM_URL = settings.VALKEY_URL.replace("redis:", "redis+cluster:")[:-2]

    with pytest.raises(RedisError, match="Cluster mode is not enabled"):
        nodes.connection()


def test_shards_whose_node_is_away_are_not_waited_for(
    settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.INGEST_STREAM_URL = f"redis://127.0.0.1:{port_choose()}"

    assert shards.held_beyond() == []
    assert f"could not ask shards {', '.join(map(str, BEYOND))} what" in caplog.text
    assert nodes.is_away(shards.stream_key(7))


@pytest.fixture
def clustered(cluster: Cluster, settings: LazySettings) -> Iterator[Cluster]:
    """The cluster as this process's stream."""
    settings.INGEST_STREAM_URL = cluster.url.replace("valkey", "redis")
    yield cluster
    for shard in BEYOND:
        nodes.connection().delete(shards.stream_key(shard), shards.accepted_key(shard))


def test_the_shards_of_other_nodes_say_what_they_hold_while_a_node_is_away(
    clustered: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    for shard in BEYOND[::2]:
        nodes.connection().xadd(shards.stream_key(shard), {"d": b""})
    for shard in BEYOND[1::4]:
        nodes.connection().hset(shards.accepted_key(shard), "1:29000000", 1)
    held = sorted({*BEYOND[::2], *BEYOND[1::4]})
    assert shards.held_beyond() == held
    lost = clustered.nodes[0]
    away = [n for n in BEYOND if nodes.node_of(shards.stream_key(n)).name.endswith(f":{lost.port}")]

    lost.kill()
    try:
        assert shards.held_beyond() == [shard for shard in held if shard not in away]
    finally:
        lost.start()
        clustered.await_whole()

    assert f"could not ask shards {', '.join(map(str, away))} what" in caplog.text
    assert shards.held_beyond() == held


def test_a_shard_that_has_moved_is_found_with_the_next_look(
    clustered: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    shard = BEYOND[0]
    key = shards.stream_key(shard)
    others = [n for n in clustered.nodes if not nodes.node_of(key).name.endswith(f":{n.port}")]
    new = others[0].client.execute_command("CLUSTER MYID").decode()
    for node in clustered.nodes:
        node.client.execute_command("CLUSTER SETSLOT", key_slot(key.encode()), "NODE", new)
    others[0].client.xadd(key, {"d": b""})

    assert shards.held_beyond() == []
    assert f"could not ask shards {shard} what" in caplog.text
    assert shards.held_beyond() == [shard]


@pytest.mark.usefixtures("valkey")
def test_an_entry_goes_to_another_shard_when_one_is_at_its_mark(
    acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARDS = 2
    settings.INGEST_SHARD_MAX_BYTES = 1000
    shards.connection().hset(shards.waiting_key(0), "bytes", 1000)

    for n in range(5):
        append(acme, reading(acme.device, now()), received_at=now().replace(microsecond=n))

    assert shards.connection().xlen(shards.stream_key(1)) == 5
    assert shards.connection().xlen(shards.stream_key(0)) == 0


@pytest.mark.usefixtures("valkey")
def test_nothing_is_appended_twice_when_the_answer_is_lost(
    acme: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARDS = 2
    settings.INGEST_STREAM_URL = f"{settings.VALKEY_URL}?socket_timeout=0.2"
    nodes.connection.cache_clear()
    nodes.connection().client_pause(5000, all=False)

    with pytest.raises(shards.StreamAway) as away:
        append(acme, reading(acme.device, now()))

    assert not isinstance(away.value, shards.ShardAway)
    nodes.connection().client_unpause()
    assert sum(shards.connection().xlen(shards.stream_key(shard)) for shard in (0, 1)) <= 1
