"""`/health`: is this process able to serve, for load balancers and people in a hurry."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError

from devices import valkey
from telemetry.presence.sweep import last_sweep_at

log = logging.getLogger(__name__)

SILENT_AFTER = timedelta(seconds=60)


class Finding(NamedTuple):
    """What a check found: the words or the figure to show, whether all is as it should be, and
    whether anything can be accepted at all."""

    shown: str | float | None
    is_ok: bool = True
    can_serve: bool = True


# By the names under which they are shown.
Findings = Mapping[str, Finding]
Check = Callable[[], Findings]


def health_view(checks: Mapping[str, Check]) -> Callable[[HttpRequest], JsonResponse]:
    """The view of `/health`: 200 `{"status": "ok", "database": "ok", "valkey": "ok", "worker":
    "ok", …}`, with what the further checks found.

    503 and "failing" with a database or Valkey that is "away", or if a check says that nothing can
    be accepted. The status is "degraded", still with 200 since messages are accepted, if a check
    found something or broke, or if the worker has not swept for a minute and so is "silent".
    """

    @never_cache
    @require_safe
    def health(request: HttpRequest) -> JsonResponse:
        parts = {
            "database": "ok" if _database_answers() else "away",
            "valkey": "ok" if valkey_answers() else "away",
        }
        if "away" in parts.values():
            return JsonResponse({"status": "failing", **parts}, status=503)
        findings = {"worker": Finding("ok") if worker_works() else Finding("silent", is_ok=False)}
        for name, check in checks.items():
            findings.update(_found(name, check))
        shown = {name: one.shown for name, one in findings.items()}
        if not all(one.can_serve for one in findings.values()):
            return JsonResponse({"status": "failing", **parts, **shown}, status=503)
        status = "ok" if all(one.is_ok for one in findings.values()) else "degraded"
        return JsonResponse({"status": status, **parts, **shown})

    return health


@never_cache
@require_safe
def api_status(request: HttpRequest) -> JsonResponse:
    """200 `{"status": "ok", "data": {"api": "ok", "redis": "ok"}}`, as fiber-api answers.

    503, "failing" and a "redis" that is "away" when nothing can be accepted.
    """
    answers = valkey_answers()
    parts = {"api": "ok", "redis": "ok" if answers else "away"}
    body = {"status": "ok" if answers else "failing", "data": parts}
    return JsonResponse(body, status=200 if answers else 503)


def worker_works() -> bool:
    """Whether devices are being looked at: beat sends sweeps, and a worker runs them."""
    swept_at = last_sweep_at()
    return swept_at is not None and timezone.now() - swept_at < SILENT_AFTER


def _found(name: str, check: Check) -> Findings:
    """What the check found; that it broke is a finding too, and goes to the log."""
    try:
        return check()
    except Exception:
        log.exception("the check %s of /health broke", name)
        return {name: Finding("unknown", is_ok=False)}


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def valkey_answers() -> bool:
    try:
        valkey.connection().ping()
    except RedisError:
        return False
    return True
