"""`/health`: is this process able to serve, for load balancers and people in a hurry."""

from datetime import timedelta
from functools import cache

import redis
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from telemetry.presence import last_sweep_at

SILENT_AFTER = timedelta(seconds=60)


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 `{"status": "ok", "database": "ok", "valkey": "ok", "worker": "ok"}`.

    503 and "failing" with a database or Valkey that is "away". A worker that has not swept for a
    minute is "silent" and the status "degraded", still with 200: messages are accepted.
    """
    parts = {
        "database": "ok" if _database_answers() else "away",
        "valkey": "ok" if _valkey_answers() else "away",
    }
    if "away" in parts.values():
        return JsonResponse({"status": "failing", **parts}, status=503)
    works = worker_works()
    status = "ok" if works else "degraded"
    return JsonResponse({"status": status, **parts, "worker": "ok" if works else "silent"})


@never_cache
@require_safe
def api_status(request: HttpRequest) -> JsonResponse:
    """200 `{"status": "ok", "data": {"api": "ok", "redis": "ok"}}`, as fiber-api answers.

    503, "failing" and a "redis" that is "away" when nothing can be accepted.
    """
    answers = _valkey_answers()
    parts = {"api": "ok", "redis": "ok" if answers else "away"}
    body = {"status": "ok" if answers else "failing", "data": parts}
    return JsonResponse(body, status=200 if answers else 503)


def worker_works() -> bool:
    """Whether devices are being looked at: beat sends sweeps, and a worker runs them."""
    swept_at = last_sweep_at()
    return swept_at is not None and timezone.now() - swept_at < SILENT_AFTER


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
        settings.VALKEY_URL,
        socket_timeout=2,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
    )
