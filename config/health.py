"""The checks of `/health` that need both `ingest` and `monitoring`."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils import timezone
from redis.exceptions import RedisError

from devices import valkey
from ingest.ledger.balances import last_check, shards_known
from ingest.stream import nodes, shards
from monitoring.system.alive import silent_parts
from monitoring.system.health import OK, Check, Finding, Findings, Health
from monitoring.system.valkey_settings import SettingsCheck
from telemetry.presence.listening import deaf_since
from telemetry.presence.sweep import REFUSALS_HOLD, refusals_stale_since

# The ledger is checked every half minute.
STALE_AFTER = timedelta(minutes=5)
PARTS = ("portal", "drain", "ops", "beat")


def stream_findings() -> Findings:
    """Which shards of the stream are unavailable, and how many seconds the oldest message in the
    others has waited to be stored."""
    try:
        survey = shards.survey(shards_known())
    except RedisError:
        why = "No shard of the stream answers, so no message is accepted. Check INGEST_STREAM_URL."
        return {"stream": Finding(Health.FAILING, why)}
    return {
        "stream": _shards_finding(survey.away),
        "oldest_waiting_s": _age_s(survey.oldest_waiting_at),
    }


def ingest_findings() -> Findings:
    """Whether an ingest server is listening."""
    since = deaf_since(timezone.now())
    if since is None:
        return {"ingest": OK}
    why = f"No ingest server has listened since {since:%Y-%m-%d %H:%M:%S} UTC. Start one."
    return {"ingest": Finding(Health.DEGRADED, why)}


def refusals_findings() -> Findings:
    """Whether refused messages are collected: without them, a device whose messages are refused
    looks silent."""
    since = refusals_stale_since(timezone.now())
    if since is None:
        return {"refusals": OK}
    why = (
        f"Refused messages have not been collected since {since:%Y-%m-%d %H:%M:%S} UTC. For at "
        f"most {REFUSALS_HOLD.seconds // 60} minutes no device becomes late or offline; after "
        "that, devices whose messages are refused do, too. Check that beat and ops are running, "
        "and read their logs."
    )
    return {"refusals": Finding(Health.DEGRADED, why)}


def parts_findings() -> Findings:
    """Which parts of Rollcall have stopped."""
    silent = silent_parts()
    return {part: _stopped(part) if part in silent else OK for part in PARTS}


def valkey_settings_check() -> Check:
    """A check whether the stream's servers keep what they have acknowledged, and whether Valkey
    evicts nothing. Each process asks once a minute."""
    check = SettingsCheck(streams=nodes.clients, others=lambda: [valkey.connection()])
    return lambda: {"valkey_settings": check.finding()}


def ledger_findings() -> Findings:
    """Whether every message accepted in the last day is accounted for, as of the last check."""
    check = last_check()
    if check is None or timezone.now() - check.checked_at > STALE_AFTER:
        why = "The ledger was not checked for 5 minutes. Check that beat and ops are running."
        return {"ledger": Finding(Health.DEGRADED, why)}
    if not check.residual:
        return {"ledger": OK}
    why = f"The ledger has a residual of {check.residual}. Run manage.py ledger --verify."
    return {"ledger": Finding(Health.DEGRADED, why)}


def _stopped(part: str) -> Finding:
    return Finding(Health.DEGRADED, f"{part} has stopped. Read its log, then start it again.")


def _shards_finding(unavailable: Collection[int]) -> Finding:
    if not unavailable:
        return OK
    names = ", ".join(map(str, unavailable))
    why = f"Shards {names} do not answer; the others accept messages. Start their Valkey again."
    return Finding(Health.DEGRADED, why)


def _age_s(accepted_at: datetime | None) -> float:
    if accepted_at is None:
        return 0.0
    return round(max(0.0, (timezone.now() - accepted_at).total_seconds()), 3)


CHECKS: dict[str, Check] = {
    "ingest": ingest_findings,
    "refusals": refusals_findings,
    "parts": parts_findings,
    "stream": stream_findings,
    "valkey_settings": valkey_settings_check(),
    "ledger": ledger_findings,
}
