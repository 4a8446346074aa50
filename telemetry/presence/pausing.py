"""Pausing and resuming devices: a paused device never becomes late or offline."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from telemetry.models import PresenceState
from telemetry.presence import reasons
from telemetry.presence.transitions import reasons_write, statuses_announce, transitions_write
from telemetry.sql import devicestatus
from telemetry.sql.devicestatus import Chosen
from telemetry.sql.lastrefusal import Refused
from telemetry.sql.presenceevent import PresenceTransition


@transaction.atomic
def presence_pause(
    *, device_ids: Sequence[int], by: str, why: str, ts: datetime, until: datetime | None = None
) -> int:
    """Pauses the devices; their messages are still stored. Returns how many it paused.

    At `until` a sweep resumes them; None: only when somebody does. A device that is already paused
    gets the new reason and end.
    """
    reason = reasons.paused(by=by, why=why, until=until)
    with connection.cursor() as cursor:
        chosen = devicestatus.lock_chosen(cursor, ids=device_ids)
        changed = [one for one in chosen if (one.reason, one.paused_until) != (reason, until)]
        changed_ids = [one.device_id for one in changed]
        devicestatus.set_pause_end(cursor, ids=changed_ids, until=until)
    transitions = [
        PresenceTransition(
            one.device_id,
            ts,
            one.tenant_id,
            one.state,
            PresenceState.PAUSED,
            reason,
        )
        for one in changed
        if one.state != PresenceState.PAUSED
    ]
    again = {one.device_id: reason for one in changed if one.state == PresenceState.PAUSED}
    changes = transitions_write(transitions=transitions)
    statuses_announce(changes=changes + reasons_write(words=again))
    return len(changed)


@transaction.atomic
def presence_resume(*, device_ids: Sequence[int], by: str, ts: datetime) -> int:
    """Resumes paused devices. Returns how many it resumed.

    A device never heard from becomes `new`, and one heard within its interval and grace becomes
    `online`, or `refused` if its messages are. All others become `late`, and offline if they stay
    silent, counted from `ts`.
    """
    with connection.cursor() as cursor:
        chosen = devicestatus.lock_chosen(cursor, ids=device_ids)
    return _resume([one for one in chosen if one.state == PresenceState.PAUSED], by=by, ts=ts)


@transaction.atomic
def pauses_end(*, ts: datetime) -> int:
    """Resumes the devices whose pause ends by `ts`. Returns how many there were."""
    with connection.cursor() as cursor:
        paused = devicestatus.lock_pause_over(cursor, ts=ts)
    return _resume(paused, by=None, ts=ts)


def _resume(paused: Sequence[Chosen], *, by: str | None, ts: datetime) -> int:
    states = {one.device_id: _resumed_state(one, ts) for one in paused}
    silent = [device_id for device_id, state in states.items() if state == PresenceState.LATE]
    with connection.cursor() as cursor:
        devicestatus.excuse_silence(cursor, ids=silent, ts=ts)
    transitions = [
        PresenceTransition(
            one.device_id,
            ts,
            one.tenant_id,
            one.state,
            states[one.device_id],
            reasons.resumed(
                by=by,
                ts=ts,
                last_seen=one.last_seen,
                interval_s=one.interval_s,
                grace_s=one.grace_s,
                refused=one.refused if states[one.device_id] == PresenceState.REFUSED else None,
            ),
        )
        for one in paused
    ]
    # The next sweep computes the deadlines.
    look_at: dict[int, datetime | None] = dict.fromkeys(states, ts)
    statuses_announce(changes=transitions_write(transitions=transitions, look_at=look_at))
    return len(transitions)


def _resumed_state(chosen: Chosen, ts: datetime) -> PresenceState:
    if chosen.last_seen is not None and _is_heard(chosen, chosen.last_seen, ts):
        return PresenceState.ONLINE
    refused: Refused | None = chosen.refused
    is_latest = refused and (chosen.last_seen is None or refused.at > chosen.last_seen)
    if refused and is_latest and _is_heard(chosen, refused.at, ts):
        return PresenceState.REFUSED
    return PresenceState.NEW if chosen.last_seen is None else PresenceState.LATE


def _is_heard(chosen: Chosen, at: datetime, ts: datetime) -> bool:
    return ts - at < timedelta(seconds=chosen.interval_s + chosen.grace_s)
