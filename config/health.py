"""What `/health` tells beyond its own room."""

from datetime import datetime, timedelta

from django.utils import timezone
from redis.exceptions import RedisError

from ingest import stream
from ingest.ledger import last_check, shards_known
from monitoring.alive import silent_parts
from monitoring.health import Check, Finding, Findings
from telemetry.listening import deaf_since

# The worker looks every half minute; one that does not is reported as silent.
STALE_AFTER = timedelta(minutes=5)
PARTS = ("portal", "drain", "ops", "beat")


def stream_findings() -> Findings:
    """Which shards of the stream are away, since others take what comes meanwhile unless all are,
    and for how many seconds the oldest accepted message of the others has waited to be stored."""
    try:
        survey = stream.survey(shards_known())
    except RedisError:
        return {"stream": Finding("away", is_ok=False, can_serve=False)}
    names = ", ".join(map(str, survey.away))
    state = Finding(f"away: shards {names}", is_ok=False) if names else Finding("ok")
    return {"stream": state, "oldest_waiting_s": _age_s(survey.oldest_waiting_at)}


def ingest_findings() -> Findings:
    """Whether a server takes the devices' messages."""
    is_deaf = deaf_since(timezone.now()) is not None
    return {"ingest": Finding("silent", is_ok=False) if is_deaf else Finding("ok")}


def parts_findings() -> Findings:
    """Which parts of Rollcall have stopped, for as long as they have."""
    silent = silent_parts()
    return {
        part: Finding("silent", is_ok=False) if part in silent else Finding("ok") for part in PARTS
    }


def ledger_findings() -> Findings:
    """Whether every message accepted in the last day is accounted for, as of the last look."""
    return {"ledger": _balance()}


def _age_s(accepted_at: datetime | None) -> Finding:
    if accepted_at is None:
        return Finding(0.0)
    return Finding(round(max(0.0, (timezone.now() - accepted_at).total_seconds()), 3))


def _balance() -> Finding:
    check = last_check()
    if check is None or timezone.now() - check.checked_at > STALE_AFTER:
        return Finding("not checked")
    return Finding("does not balance", is_ok=False) if check.residual else Finding("ok")


CHECKS: dict[str, Check] = {
    "ingest": ingest_findings,
    "parts": parts_findings,
    "stream": stream_findings,
    "ledger": ledger_findings,
}
