"""What `/health` tells beyond its own room."""

from datetime import timedelta

from django.utils import timezone
from redis.exceptions import RedisError

from ingest.ledger.balances import last_check, shards_known
from ingest.stream import shards
from monitoring.system.health import Check, Finding, Findings
from telemetry.presence.listening import deaf_since

# The worker looks every half minute; one that does not is reported as silent.
STALE_AFTER = timedelta(minutes=5)


def stream_findings() -> Findings:
    """Which shards of the stream are away, since others take what comes meanwhile unless all are,
    and for how many seconds the oldest accepted message of the others has waited to be stored."""
    try:
        survey = shards.survey(shards_known())
    except RedisError:
        return {"stream": Finding("away", is_ok=False, can_serve=False)}
    names = ", ".join(map(str, survey.away))
    state = Finding(f"away: shards {names}", is_ok=False) if names else Finding("ok")
    oldest, age_s = survey.oldest_waiting_at, 0.0
    if oldest is not None:
        age_s = round(max(0.0, (timezone.now() - oldest).total_seconds()), 3)
    return {"stream": state, "oldest_waiting_s": Finding(age_s)}


def ingest_findings() -> Findings:
    """Whether a server takes the devices' messages."""
    is_deaf = deaf_since(timezone.now()) is not None
    return {"ingest": Finding("silent", is_ok=False) if is_deaf else Finding("ok")}


def ledger_findings() -> Findings:
    """Whether every message accepted in the last day is accounted for, as of the last look."""
    check = last_check()
    if check is None or timezone.now() - check.checked_at > STALE_AFTER:
        return {"ledger": Finding("not checked")}
    is_ok = not check.residual
    return {"ledger": Finding("ok" if is_ok else "does not balance", is_ok=is_ok)}


CHECKS: dict[str, Check] = {
    "ingest": ingest_findings,
    "stream": stream_findings,
    "ledger": ledger_findings,
}
