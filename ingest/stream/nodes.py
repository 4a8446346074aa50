"""Where the shards live: all on one Valkey, or spread over the nodes of a Valkey Cluster.

A cluster has an address with `redis+cluster://` (see docs/settings.md). The hash tag in a shard's
keys decides its node. If a node is unavailable, only its own shards are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from os import getpid
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import ConnectionError, RedisClusterException, RedisError
from redis.retry import Retry

CLUSTER = "+cluster"
# An unreachable node is skipped for this long: connecting to a host that is gone takes as long as
# the timeout.
AWAY_S = 1.0
TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "health_check_interval": 0,
}

_away_until: dict[str, float] = {}


class ShardCluster(RedisCluster):
    """A client of a cluster for commands about one shard each."""

    def determine_slot(self, *args: Any) -> int | None:
        """The slot of the shard's key among the arguments. The library would ask any node of the
        cluster which arguments are keys, and that node may be unavailable."""
        for argument in args[1:]:
            if isinstance(argument, str) and argument.startswith("ingest:{"):
                return key_slot(argument.encode())
        return super().determine_slot(*args)

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Raises RedisError for every error, like the client of a single node."""
        try:
            return super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call]
        except RedisClusterException as error:
            raise RedisError(str(error)) from error


class Node(NamedTuple):
    """A Valkey process: its name, and this process's connections to it."""

    name: str
    pool: Any


class Link:
    """A connection to the node that has a shard, for one thread at a time. Taking one from the pool
    and giving it back for each append would take longer than sending."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._connection: Any = None

    def ready(self, node: Node) -> Any:
        """The connection, to this node and ready to send.

        Raises RedisError if the node cannot be reached; nothing was sent.
        """
        if self._pool is not node.pool or self._connection.pid != getpid():
            self._pool, self._connection = node.pool, node.pool.make_connection()
        self._connection.connect()
        if _has_news(self._connection):
            self._connection.disconnect()
            self._connection.connect()
        return self._connection


def _has_news(connection: Any) -> bool:
    """True if the node has closed the connection, or sent something unprompted."""
    try:
        return bool(connection.can_read())
    except ConnectionError:
        return True


@cache
def connection() -> redis.Redis | ShardCluster:
    """This process's client of the stream. A failed call is not retried here: the device or the
    drain retries, and knows what it may repeat.

    Raises RedisError if no node of a cluster answers.
    """
    url: str = settings.INGEST_STREAM_URL
    once = Retry(NoBackoff(), 0)
    if CLUSTER not in url:
        return redis.Redis.from_url(url, retry=once, **TIMEOUTS)
    first, others = _cluster_addresses(url)
    try:
        return ShardCluster(
            url=first, startup_nodes=others, retry=once, require_full_coverage=False, **TIMEOUTS
        )
    except RedisClusterException as error:
        raise RedisError(str(error)) from error


def clients() -> list[redis.Redis]:
    """A client of each server that holds shards, as far as this process knows.

    Raises RedisError if no node of a cluster answers.
    """
    client = connection()
    if isinstance(client, redis.Redis):
        return [client]
    primaries = client.get_primaries()  # type: ignore[no-untyped-call]
    return [client.get_redis_connection(node) for node in primaries]


def node_of(shard_key: str) -> Node:
    """The node that has the shard, as far as this process knows."""
    client = connection()
    if isinstance(client, redis.Redis):
        return Node("", client.connection_pool)
    try:
        node = client.nodes_manager.get_node_from_slot(key_slot(shard_key.encode()))
    except RedisClusterException as error:
        raise RedisError(str(error)) from error
    return Node(node.name, client.get_redis_connection(node).connection_pool)


def node_missed(node: Node) -> None:
    """Records that a node cannot be reached, and asks the others whether its shards have moved."""
    _away_until[node.name] = monotonic() + AWAY_S
    client = connection()
    if isinstance(client, ShardCluster):
        try:
            client.nodes_manager.initialize(
                disconnect_startup_nodes_pools=False, last_failed_node_name=node.name
            )
        except RedisClusterException as error:
            raise RedisError(str(error)) from error


def run_on_all(script: str, keys: Mapping[int, Sequence[str]]) -> dict[int, Any]:
    """Runs a script on each shard's keys, all shards of a node together; returns the results by
    shard. The result is a RedisError if the shard's node is unavailable or no longer has it.

    Raises RedisError if no node of a cluster answers.
    """
    connection()
    answers: dict[int, Any] = {}
    by_node: dict[Node, list[int]] = defaultdict(list)
    for shard, names in keys.items():
        try:
            by_node[node_of(names[0])].append(shard)
        except RedisError as error:
            answers[shard] = error
    for node, shards in by_node.items():
        answers |= zip(shards, _run_on(node, script, [keys[n] for n in shards]), strict=True)
    return answers


def _run_on(node: Node, script: str, keys: Sequence[Sequence[str]]) -> list[Any]:
    """A node's results. The library's own cluster pipeline returns nothing at all if one node
    refuses the connection, and asks a silent node again for every shard."""
    pipeline: Any = redis.Redis(connection_pool=node.pool).pipeline(transaction=False)
    for names in keys:
        pipeline.eval(script, len(names), *names)
    try:
        answers: list[Any] = pipeline.execute(raise_on_error=False)
    except RedisError as error:
        answers = [error] * len(keys)
    if any(isinstance(answer, RedisError) for answer in answers):
        node_missed(node)
    return answers


def is_away(shard_key: str) -> bool:
    """True if the shard's node was unreachable within AWAY_S, or if no node has the shard."""
    if not _away_until:
        return False
    try:
        node = node_of(shard_key)
    except RedisError:
        return True
    return _away_until.get(node.name, 0.0) > monotonic()


def _cluster_addresses(url: str) -> tuple[str, list[ClusterNode]]:
    """The URL with its first node only, and the other nodes. Any node knows all the others."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    first, *others = hosts.split(",")
    address = parts._replace(
        scheme=parts.scheme.removesuffix(CLUSTER), netloc=f"{credentials}{at}{first}"
    )
    nodes = [urlsplit(f"//{host}") for host in others]
    return address.geturl(), [ClusterNode(one.hostname, one.port or 6379) for one in nodes]  # type: ignore[no-untyped-call]
