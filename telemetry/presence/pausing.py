"""Pausing and resuming devices: a paused device never becomes late or offline."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from telemetry.models import PresenceState
from telemetry.presence import reasons
from telemetry.presence.transitions import statuses_announce, transitions_write
from telemetry.sql import devicestatus
from telemetry.sql.devicestatus import Chosen
from telemetry.sql.presenceevent import PresenceTransition


@transaction.atomic
def presence_pause(*, device_ids: Sequence[int], by: str, why: str, ts: datetime) -> int:
    """Pauses the devices; their messages are still stored. Returns how many it paused."""
    with connection.cursor() as cursor:
        chosen = devicestatus.lock_chosen(cursor, ids=device_ids)
    transitions = [
        PresenceTransition(
            one.device_id,
            ts,
            one.tenant_id,
            one.state,
            PresenceState.PAUSED,
            reasons.paused(by=by, why=why),
        )
        for one in chosen
        if one.state != PresenceState.PAUSED
    ]
    statuses_announce(changes=transitions_write(transitions=transitions))
    return len(transitions)


@transaction.atomic
def presence_resume(*, device_ids: Sequence[int], by: str, ts: datetime) -> int:
    """Resumes paused devices. Returns how many it resumed.

    A device never heard from becomes `new`, and one heard within its interval and grace becomes
    `online`. All others become `late`, and offline if they stay silent, counted from `ts`.
    """
    with connection.cursor() as cursor:
        chosen = devicestatus.lock_chosen(cursor, ids=device_ids)
        paused = [one for one in chosen if one.state == PresenceState.PAUSED]
        silent = [one.device_id for one in paused if _resumed_state(one, ts) == PresenceState.LATE]
        devicestatus.excuse_silence(cursor, ids=silent, ts=ts)
    transitions = [
        PresenceTransition(
            one.device_id,
            ts,
            one.tenant_id,
            one.state,
            _resumed_state(one, ts),
            reasons.resumed(
                by=by,
                ts=ts,
                last_seen=one.last_seen,
                interval_s=one.interval_s,
                grace_s=one.grace_s,
            ),
        )
        for one in paused
    ]
    statuses_announce(changes=transitions_write(transitions=transitions))
    return len(transitions)


def _resumed_state(chosen: Chosen, ts: datetime) -> PresenceState:
    if chosen.last_seen is None:
        return PresenceState.NEW
    is_heard = ts - chosen.last_seen < timedelta(seconds=chosen.interval_s + chosen.grace_s)
    return PresenceState.ONLINE if is_heard else PresenceState.LATE
