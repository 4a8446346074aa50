"""What `/health` tells beyond its own room."""

from datetime import timedelta

from django.utils import timezone

from ingest.ledger import last_check
from ingest.stream import oldest_waiting_at
from monitoring.health import Check, Finding

# The worker looks every half minute; one that does not is reported as silent.
STALE_AFTER = timedelta(minutes=5)


def oldest_waiting() -> Finding:
    """For how many seconds the oldest accepted message has waited to be stored; 0 if none waits."""
    at = oldest_waiting_at()
    age_s = (timezone.now() - at).total_seconds() if at else 0.0
    return Finding(round(max(0.0, age_s), 3))


def ledger() -> Finding:
    """Whether every message accepted in the last day is accounted for, as of the last look."""
    check = last_check()
    if check is None or timezone.now() - check.checked_at > STALE_AFTER:
        return Finding("not checked")
    return Finding("does not balance", is_ok=False) if check.residual else Finding("ok")


CHECKS: dict[str, Check] = {"oldest_waiting_s": oldest_waiting, "ledger": ledger}
