"""`/health`: whether this process can serve, for load balancers and people."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

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


class Health(StrEnum):
    """The three health words, used everywhere."""

    OK = "ok"
    DEGRADED = "degraded"  # messages are accepted; something needs attention
    FAILING = "failing"  # nothing can be accepted


class Finding(NamedTuple):
    """The health of a part and, unless it is ok, what is wrong and what to do."""

    health: Health = Health.OK
    why: str = ""


OK = Finding()
WORST_FIRST = (Health.FAILING, Health.DEGRADED, Health.OK)
# By the name to show. A number is shown as it is and has no influence on the status.
Findings = Mapping[str, Finding | float]
Check = Callable[[], Findings]


def health_view(checks: Mapping[str, Check]) -> Callable[[HttpRequest], JsonResponse]:
    """The view of `/health`: `{"status": "ok", "database": "ok", "valkey": "ok", "worker": "ok",
    …, "why": {}}`, with the findings of `checks`.

    The status is the worst part's; `why` says what to do about each part that is not ok. Answers
    503 while the status is "failing", else 200. The checks need the database and Valkey, so they
    are left out while either is unavailable; a check that raises is "degraded".
    """

    @never_cache
    @require_safe
    def health(request: HttpRequest) -> JsonResponse:
        findings: dict[str, Finding | float] = {
            "database": database_finding(),
            "valkey": valkey_finding(),
        }
        if all(finding == OK for finding in findings.values()):
            for name, check in {"worker": _worker_findings, **checks}.items():
                findings.update(_found(name, check))
        told = health_told(findings)
        return JsonResponse(told, status=503 if told["status"] == Health.FAILING else 200)

    return health


def health_told(findings: Findings) -> dict[str, Any]:
    """`{"status": …, <part>: …, "why": {<part>: <text>}}`; the status is the worst part's."""
    parts = {name: one for name, one in findings.items() if isinstance(one, Finding)}
    healths = {one.health for one in parts.values()}
    return {
        "status": next(one for one in WORST_FIRST if one in healths),
        **{n: one.health if isinstance(one, Finding) else one for n, one in findings.items()},
        "why": {name: one.why for name, one in parts.items() if one.why},
    }


@never_cache
@require_safe
def api_status(request: HttpRequest) -> JsonResponse:
    """200 `{"status": "ok", "data": {"api": "ok", "redis": "ok"}}`, in fiber-api's format.

    503 and "failing" while nothing can be accepted.
    """
    valkey_health = valkey_finding().health
    body = {"status": valkey_health, "data": {"api": Health.OK, "redis": valkey_health}}
    return JsonResponse(body, status=200 if valkey_health == Health.OK else 503)


def worker_works() -> bool:
    """Whether devices are checked: beat sends sweeps, and the worker `ops` runs them."""
    swept_at = last_sweep_at()
    return swept_at is not None and timezone.now() - swept_at < SILENT_AFTER


def worker_finding() -> Finding:
    if worker_works():
        return OK
    return Finding(
        Health.DEGRADED,
        f"No sweep has run for {SILENT_AFTER.seconds} s, so the states of devices are out of date. "
        "Check that beat and ops are running, and read their logs.",
    )


def database_finding() -> Finding:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return Finding(
            Health.FAILING,
            "PostgreSQL does not answer. Check that it is running and reachable at DATABASE_URL.",
        )
    return OK


def valkey_finding() -> Finding:
    try:
        valkey.connection().ping()
    except RedisError:
        return Finding(
            Health.FAILING,
            "Valkey does not answer, so no message is accepted. Check that it is running and "
            "reachable at VALKEY_URL.",
        )
    return OK


def _worker_findings() -> Findings:
    return {"worker": worker_finding()}


def _found(name: str, check: Check) -> Findings:
    """What the check found. If it raises, the log says why and the finding is "degraded"."""
    try:
        return check()
    except Exception:
        log.exception("the check %s of /health failed", name)
        return {name: Finding(Health.DEGRADED, "This check failed; the log says why.")}
