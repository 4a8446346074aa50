"""This process's client of VALKEY_URL, for small and frequent requests: counters, marks, health.

The stream has its own connections (ingest.stream.nodes), since it may be on other servers.
"""

import asyncio
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import redis
from django.conf import settings
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

# Callers know what to do without an answer; retries of the client would only add to the wait.
TIMEOUTS: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 1}

_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncRedis] = WeakKeyDictionary()


@cache
def connection() -> redis.Redis:
    """The client. Each call raises RedisError while Valkey is unavailable."""
    return redis.Redis.from_url(settings.VALKEY_URL, retry=Retry(NoBackoff(), 0), **TIMEOUTS)


def async_connection() -> AsyncRedis:
    """The client of the running event loop; raises RedisError like the other."""
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        retry = AsyncRetry(NoBackoff(), 0)
        _of_loops[loop] = AsyncRedis.from_url(settings.VALKEY_URL, retry=retry, **TIMEOUTS)
    return _of_loops[loop]
