"""A device's past, as its page shows it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from telemetry.models import DeviceStatus, LastRefusal
from telemetry.sql import heartbeat, presenceevent
from telemetry.sql.heartbeat import StoredHeartbeat

TRANSITIONS = 50
HEARTBEATS = 20
# What is over, or did no harm, is shown for this long.
RECENT = timedelta(days=1)


class Transition(NamedTuple):
    """A change of state and how long the new state lasted; None while it lasts."""

    time: datetime
    previous_state: str
    state: str
    reason: str
    lasted_s: float | None


def transitions_of(device_id: int) -> Sequence[Transition]:
    """The latest transitions of a device, newest first."""
    with connection.cursor() as cursor:
        rows = presenceevent.page(cursor, device_id=device_id, before=None, limit=TRANSITIONS)
    ends = [None, *(row.time for row in rows)]
    return [
        Transition(*row, (end - row.time).total_seconds() if end else None)
        for row, end in zip(rows, ends, strict=False)
    ]


def heartbeats_of(status: DeviceStatus) -> Sequence[StoredHeartbeat]:
    """The latest heartbeats of the device, newest first by the device's own clock."""
    if status.last_seen is None:
        return []
    with connection.cursor() as cursor:
        return heartbeat.recent(
            cursor,
            device_id=status.device_id,
            until=status.last_seen,
            interval_s=status.interval_s,
            limit=HEARTBEATS,
        )


class Refusals(NamedTuple):
    """What was refused of a device since its last accepted message, what was refused before it, and
    which values were left out of accepted messages; None if there was none lately."""

    now: LastRefusal | None
    before: LastRefusal | None
    ignored: LastRefusal | None


def refusals_of(status: DeviceStatus) -> Refusals:
    found = {one.accepted: one for one in LastRefusal.objects.filter(device=status.device_id)}
    recent = timezone.now() - RECENT
    refused, ignored = found.get(False), found.get(True)
    is_over = refused and status.last_seen and refused.at <= status.last_seen
    return Refusals(
        now=None if is_over else refused,
        before=refused if is_over and refused and refused.at > recent else None,
        ignored=ignored if ignored and ignored.at > recent else None,
    )
