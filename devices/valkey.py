"""This process's client for VALKEY_URL, for small and frequent requests: counters, marks, health.

The stream has its own connections (ingest.stream.nodes), since it may be on different servers.
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

# Callers can cope without a response; retries by the client would only make them wait longer.
TIMEOUTS: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 1}

_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncRedis] = WeakKeyDictionary()


@cache
def connection() -> redis.Redis:
    """The synchronous client. Every call raises RedisError while Valkey is unavailable."""
    return redis.Redis.from_url(settings.VALKEY_URL, retry=Retry(NoBackoff(), 0), **TIMEOUTS)


def async_connection() -> AsyncRedis:
    """The client for the running event loop. Raises RedisError like the synchronous one."""
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        retry = AsyncRetry(NoBackoff(), 0)
        _of_loops[loop] = AsyncRedis.from_url(settings.VALKEY_URL, retry=retry, **TIMEOUTS)
    return _of_loops[loop]
