"""What `/health` tells beyond its own room."""

from datetime import timedelta

from django.utils import timezone
from redis.exceptions import RedisError

from ingest.ledger import last_check
from ingest.stream import oldest_waiting_at, shards, shards_that_answer
from monitoring.health import Check, Finding

# The worker looks every half minute; one that does not is reported as silent.
STALE_AFTER = timedelta(minutes=5)


def stream() -> Finding:
    """Which shards of the stream are away: others take what comes meanwhile, unless all are."""
    try:
        away = sorted(set(shards()).difference(shards_that_answer()))
    except RedisError:
        return Finding("away", is_ok=False, can_serve=False)
    names = ", ".join(map(str, away))
    return Finding(f"away: shards {names}", is_ok=False) if away else Finding("ok")


def oldest_waiting() -> Finding:
    """For how many seconds the oldest accepted message has waited to be stored, of the shards that
    are there; 0 if none waits."""
    at = oldest_waiting_at(shards_that_answer())
    age_s = (timezone.now() - at).total_seconds() if at else 0.0
    return Finding(round(max(0.0, age_s), 3))


def ledger() -> Finding:
    """Whether every message accepted in the last day is accounted for, as of the last look."""
    check = last_check()
    if check is None or timezone.now() - check.checked_at > STALE_AFTER:
        return Finding("not checked")
    return Finding("does not balance", is_ok=False) if check.residual else Finding("ok")


CHECKS: dict[str, Check] = {
    "stream": stream,
    "oldest_waiting_s": oldest_waiting,
    "ledger": ledger,
}
