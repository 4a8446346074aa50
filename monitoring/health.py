"""`/health`: is this process able to serve, for load balancers and people in a hurry."""

from functools import cache

import redis
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 `{"status": "ok", "database": "ok", "valkey": "ok"}`; 503 with what is `"away"`."""
    parts = {
        "database": "ok" if _database_answers() else "away",
        "valkey": "ok" if _valkey_answers() else "away",
    }
    failing = "away" in parts.values()
    return JsonResponse(
        {"status": "failing" if failing else "ok", **parts}, status=503 if failing else 200
    )


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def _valkey_answers() -> bool:
    try:
        _valkey().ping()
    except RedisError:
        return False
    return True


@cache
def _valkey() -> redis.Redis:
    return redis.Redis.from_url(
        settings.VALKEY_URL.replace("valkey", "redis", 1),
        socket_timeout=2,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
    )
