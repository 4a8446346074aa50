"""What the page of a device shows of its past."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from django.db import connection

from telemetry.models import DeviceStatus
from telemetry.sql import heartbeat, presenceevent

TRANSITIONS = 50
HEARTBEATS = 20
# A heartbeat that reached us so much after its own time was kept back, or its clock is wrong.
NOTABLE_DELAY_S = 60


class Transition(NamedTuple):
    """A change of state and how long the new state lasted; None while it lasts."""

    time: datetime
    previous_state: str
    state: str
    reason: str
    lasted_s: float | None


class RecentHeartbeat(NamedTuple):
    time: datetime
    received_at: datetime
    battery_pct: float | None
    rssi_dbm: float | None
    version: str | None
    address: str | None

    @property
    def notable_delay_s(self) -> float | None:
        """How long after its own time it came, if that is worth telling; negative: before."""
        delay_s = (self.received_at - self.time).total_seconds()
        return delay_s if abs(delay_s) >= NOTABLE_DELAY_S else None


def transitions_of(device_id: int) -> Sequence[Transition]:
    """The latest transitions of a device, newest first."""
    with connection.cursor() as cursor:
        rows = presenceevent.page(cursor, device_id=device_id, before=None, limit=TRANSITIONS)
    ends = [None, *(row.time for row in rows)]
    return [
        Transition(*row, (end - row.time).total_seconds() if end else None)
        for row, end in zip(rows, ends, strict=False)
    ]


def heartbeats_of(status: DeviceStatus) -> Sequence[RecentHeartbeat]:
    """The latest heartbeats of the status's device by its own clock, newest first."""
    if status.last_seen is None:
        return []
    with connection.cursor() as cursor:
        rows = heartbeat.recent(
            cursor,
            device_id=status.device_id,
            until=status.last_seen,
            interval_s=status.interval_s,
            limit=HEARTBEATS,
        )
    return [RecentHeartbeat(*cast(RecentHeartbeat, row)) for row in rows]
