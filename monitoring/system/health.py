"""`/health`: is this process able to serve, for load balancers and people in a hurry."""

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
    """The three words for how something is, everywhere."""

    OK = "ok"
    DEGRADED = "degraded"  # messages are accepted; something needs attention
    FAILING = "failing"  # nothing can be accepted


class Finding(NamedTuple):
    """How a part is and, unless it is ok, why: what is wrong and what to do about it."""

    health: Health = Health.OK
    why: str = ""


OK = Finding()
WORST_FIRST = (Health.FAILING, Health.DEGRADED, Health.OK)
# By the names under which they are shown. A figure is shown as it is, and not judged.
Findings = Mapping[str, Finding | float]
Check = Callable[[], Findings]


def health_view(checks: Mapping[str, Check]) -> Callable[[HttpRequest], JsonResponse]:
    """The view of `/health`: `{"status": "ok", "database": "ok", "valkey": "ok", "worker": "ok",
    …, "why": {}}`, with what the further checks found.

    The status is that of the worst part, and `why` says of each part that is not ok what to do
    about it. 503 while it is "failing", else 200. The further checks need the database and Valkey,
    and are left out while one of them is unavailable; one that breaks is "degraded".
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
    """`{"status": …, <part>: …, "why": {<part>: <words>}}`: the status is the worst part's."""
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
    """200 `{"status": "ok", "data": {"api": "ok", "redis": "ok"}}`, as fiber-api answers.

    503 and "failing" when nothing can be accepted.
    """
    valkey_health = valkey_finding().health
    body = {"status": valkey_health, "data": {"api": Health.OK, "redis": valkey_health}}
    return JsonResponse(body, status=200 if valkey_health == Health.OK else 503)


def worker_works() -> bool:
    """Whether devices are being judged: beat sends sweeps, and the worker `ops` runs them."""
    swept_at = last_sweep_at()
    return swept_at is not None and timezone.now() - swept_at < SILENT_AFTER


def worker_finding() -> Finding:
    if worker_works():
        return OK
    return Finding(
        Health.DEGRADED,
        f"No sweep has run for {SILENT_AFTER.seconds} s, so states of devices are out of date. "
        "See that beat and ops are running; their logs say more.",
    )


def database_finding() -> Finding:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return Finding(
            Health.FAILING,
            "PostgreSQL does not answer. See that it is running and reachable at DATABASE_URL.",
        )
    return OK


def valkey_finding() -> Finding:
    try:
        valkey.connection().ping()
    except RedisError:
        return Finding(
            Health.FAILING,
            "Valkey does not answer, and nothing is accepted without it. See that it is running "
            "and reachable at VALKEY_URL.",
        )
    return OK


def _worker_findings() -> Findings:
    return {"worker": worker_finding()}


def _found(name: str, check: Check) -> Findings:
    """What the check found; that it broke is a finding too, and goes to the log."""
    try:
        return check()
    except Exception:
        log.exception("the check %s of /health broke", name)
        return {name: Finding(Health.DEGRADED, "This check broke; the log says why.")}
