"""What Celery runs of this room; each task calls one service."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from ingest.door.breaches import breaches_collect, breaches_prune
from ingest.ledger.balances import ledger_check, shards_known
from ingest.storage.drain import drain_run
from ingest.storage.replay import approved_replay, requested_replay
from ingest.stream import shards
from telemetry.presence.listening import listening
from telemetry.presence.sweep import presence_sweep

# A server that has not listened for so long is taken to have been removed.
HOLD_MAX = timedelta(hours=1)


@shared_task(name="ingest.drain")
def drain(shard: int = 0, turn: str | None = None) -> None:
    """Drains for a while and hands on to a successor; beat starts one again if a run died."""
    next_turn = drain_run(shard=shard, run_s=settings.INGEST_DRAIN_RUN_S, turn=turn)
    if next_turn is not None:
        drain.delay(shard=shard, turn=next_turn)


@shared_task(name="ingest.drain_beyond")
def drain_beyond() -> None:
    """Beat starts drains of the shards that INGEST_SHARDS has; this starts those of the others."""
    for shard in shards.held_beyond():
        drain.apply_async(kwargs={"shard": shard}, expires=10)


@shared_task(name="ingest.replay_approved")
def replay_approved() -> None:
    """Approval is only a field of the device, so that it holds whoever sets it and however."""
    approved_replay(ts=timezone.now())


@shared_task(name="ingest.replay_requested")
def replay_requested() -> None:
    requested_replay(ts=timezone.now())


@shared_task(name="ingest.breaches_collect")
def collect_breaches() -> None:
    """The door only counts breaches, so that refusing costs the database nothing."""
    breaches_collect()


@shared_task(name="ingest.breaches_prune")
def forget_breaches() -> None:
    breaches_prune(ts=timezone.now())


@shared_task(name="ingest.ledger_check")
def check_ledger() -> None:
    ledger_check(ts=timezone.now())


@shared_task(name="ingest.presence_sweep")
def sweep() -> None:
    """In this room because only the stream knows up to when everything heard is stored. What waits
    in a shard that is away is not waited for: its devices are heard through the others. While no
    server listens nobody is judged, for HOLD_MAX."""
    ts = timezone.now()
    waiting = shards.survey(shards_known())
    door = listening()
    heard_until = waiting.oldest_waiting_at or ts
    if door and ts - door.at < HOLD_MAX:
        heard_until = min(heard_until, door.at)
    presence_sweep(ts=ts, heard_until=heard_until, unheard=door and door.break_before)
