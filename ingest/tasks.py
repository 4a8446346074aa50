"""This app's Celery tasks; each calls the service that it is named after."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from ingest.door import refusal_rows
from ingest.ledger import balances
from ingest.storage import drain, replay
from ingest.storage.replay import ReplayOutcome
from ingest.stream import shards
from telemetry.presence import sweep
from telemetry.presence.listening import listening
from telemetry.presence.sweep import SweepResult

# A server that has not listened for this long counts as removed.
HOLD_MAX = timedelta(hours=1)


@shared_task(name="ingest.drain_run")
def drain_run(shard: int = 0, turn: str | None = None) -> str | None:
    """Drains a shard for a while, then starts a successor and returns its turn. Beat starts a new
    drain if one died."""
    next_turn = drain.drain_run(shard=shard, run_s=settings.INGEST_DRAIN_RUN_S, turn=turn)
    if next_turn is not None:
        drain_run.delay(shard=shard, turn=next_turn)
    return next_turn


@shared_task(name="ingest.drains_beyond_start")
def drains_beyond_start() -> list[int]:
    """Starts drains for shards beyond INGEST_SHARDS, which beat does not; returns the shards."""
    beyond = list(shards.held_beyond())
    for shard in beyond:
        drain_run.apply_async(kwargs={"shard": shard}, expires=10)
    return beyond


@shared_task(name="ingest.approved_replay")
def approved_replay() -> ReplayOutcome:
    """Finds approved devices by their field, so it does not matter how they were approved."""
    return replay.approved_replay(ts=timezone.now())


@shared_task(name="ingest.requested_replay")
def requested_replay() -> ReplayOutcome:
    return replay.requested_replay(ts=timezone.now())


@shared_task(name="ingest.refusals_collect")
def refusals_collect() -> int:
    """The door only counts what it refuses, so that refusing costs the database nothing."""
    return refusal_rows.refusals_collect()


@shared_task(name="ingest.refusals_prune")
def refusals_prune() -> int:
    return refusal_rows.refusals_prune(ts=timezone.now())


@shared_task(name="ingest.ledger_check")
def ledger_check() -> int:
    return balances.ledger_check(ts=timezone.now())


@shared_task(name="ingest.presence_sweep")
def presence_sweep() -> SweepResult:
    """In this app, because only the stream knows up to when every accepted message is stored. Does
    not wait for an unavailable shard: its devices are heard through the other shards.

    While no server listens, no device becomes late or offline, for at most HOLD_MAX."""
    ts = timezone.now()
    waiting = shards.survey(balances.shards_known())
    door = listening()
    heard_until = waiting.oldest_waiting_at or ts
    if door and ts - door.at < HOLD_MAX:
        heard_until = min(heard_until, door.at)
    return sweep.presence_sweep(ts=ts, heard_until=heard_until, unheard=door and door.break_before)
