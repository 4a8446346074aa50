"""The sweep: finds the devices that have become late or offline.

A device is late once it has been silent for its interval and grace, and offline after twice that.
`late_at` and `offline_at` in telemetry_devicestatus say when to look, so finding silent devices
never reads history. Every transition is stored as a presence event with its reason.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from telemetry.locks import AdvisoryLock, try_lock_in_transaction
from telemetry.models import PresenceBreak, PresenceState, PresenceSweep
from telemetry.presence import reasons
from telemetry.presence.listening import Unheard
from telemetry.presence.transitions import statuses_announce, transitions_write
from telemetry.sql import devicestatus
from telemetry.sql.devicestatus import Due
from telemetry.sql.presenceevent import PresenceTransition

log = logging.getLogger(__name__)

SWEEP_BATCH = 5000


class SweepResult(NamedTuple):
    """How many devices became late, and how many offline."""

    late: int
    offline: int


def presence_sweep(
    *, ts: datetime, heard_until: datetime, unheard: Unheard | None = None
) -> SweepResult:
    """Marks devices as late or offline if their deadline passed by `heard_until`, at most `ts`.

    Every message accepted up to `heard_until` is stored: a device whose heartbeat is still waiting
    in the stream is not silent. `unheard` is the latest period in which no server listened. A gap
    of `sweepless_after()` since the last sweep counts as such a period, too. Messages that were due
    in it are excused. Sweeps exclude each other: a second one does nothing.
    """
    counts = {PresenceState.LATE: 0, PresenceState.OFFLINE: 0}
    if _note_sweep(ts, unheard):
        until = min(ts, heard_until)
        looked = SWEEP_BATCH
        while looked == SWEEP_BATCH:
            looked, transitions = _sweep_batch(ts=until)
            for transition in transitions:
                counts[PresenceState(transition.state)] += 1
    return SweepResult(counts[PresenceState.LATE], counts[PresenceState.OFFLINE])


def sweepless_after() -> timedelta:
    """The length from which a gap between two sweeps means that nobody listened in between."""
    return timedelta(seconds=max(60.0, 3 * settings.PRESENCE_SWEEP_S))


def last_sweep_at() -> datetime | None:
    """When presence was last swept; None if it never was."""
    sweep = PresenceSweep.objects.order_by("id").first()
    return sweep.swept_at if sweep else None


@transaction.atomic
def _note_sweep(ts: datetime, unheard: Unheard | None) -> bool:
    """Records this sweep, and when nobody listened before it. False if another one is running."""
    if not try_lock_in_transaction(AdvisoryLock.PRESENCE_SWEEP):
        return False
    sweep = PresenceSweep.objects.order_by("id").first() or PresenceSweep(swept_at=ts)
    if unheard:
        _note_break(unheard)
    if ts - sweep.swept_at >= sweepless_after():
        _note_break(Unheard(sweep.swept_at, ts))
    sweep.swept_at = ts
    sweep.save()
    return True


def _note_break(unheard: Unheard) -> None:
    _, is_new = PresenceBreak.objects.get_or_create(since=unheard.since, until=unheard.until)
    if is_new:
        words = "no server listened from %s to %s: messages that were due then are excused"
        log.warning(words, unheard.since, unheard.until)


@transaction.atomic
def _sweep_batch(*, ts: datetime) -> tuple[int, list[PresenceTransition]]:
    """Returns how many devices it looked at, and which of them became late or offline."""
    with connection.cursor() as cursor:
        due = devicestatus.lock_due(cursor, ts=ts, limit=SWEEP_BATCH)
        judged = _judged(due)
        early = [one for one in judged if one.deadline > ts]
        devicestatus.look_again(cursor, at={one.due.device_id: one.deadline for one in early})
    transitions = [_silence(one, ts) for one in judged if one.deadline <= ts]
    statuses_announce(changes=transitions_write(transitions=transitions))
    return len(due), transitions


class _Judged(NamedTuple):
    """A due device and how much of its silence is excused. `deadline` is when it becomes late or,
    if it is late already, offline."""

    due: Due
    excused: timedelta

    @property
    def _allowed(self) -> timedelta:
        return timedelta(seconds=self.due.interval_s + self.due.grace_s)

    @property
    def offline_at(self) -> datetime:
        return self.due.last_seen + self.excused + 2 * self._allowed

    @property
    def deadline(self) -> datetime:
        is_late = self.due.state == PresenceState.LATE
        return self.offline_at if is_late else self.offline_at - self._allowed


def _judged(due: Sequence[Due]) -> list[_Judged]:
    if not due:
        return []
    oldest = min(one.last_seen for one in due)
    breaks = PresenceBreak.objects.filter(until__gt=oldest).order_by("since")
    unheard = [Unheard(one.since, one.until) for one in breaks]
    return [_Judged(one, _excused(one, unheard)) for one in due]


def _excused(due: Due, unheard: Sequence[Unheard]) -> timedelta:
    """How much of a device's silence does not count.

    That is what was excused when it was resumed, and one interval for each message that was due
    while no server listened. The length of a break does not matter: a short one can lose a message,
    and a long one loses none if none was due.
    """
    known = timedelta(seconds=due.excused_s)
    counted_from = due.last_seen + known
    # Forms and the API do not accept an interval of 0, but the column does.
    interval, grace = timedelta(seconds=max(1, due.interval_s)), timedelta(seconds=due.grace_s)
    # The nth message is due n intervals after `counted_from`, and at most `grace` later. A break
    # may have lost it if the break overlaps that span: true of every n from `first` to `last`. With
    # a long grace a span can overlap several breaks, so each break starts after the `last` of those
    # before it: no message is excused twice.
    missed = last = 0
    for since, until in unheard:
        first = max(last + 1, -((counted_from + grace - since) // interval))
        last = max(last, (until - counted_from) // interval)
        missed += max(0, last - first + 1)
    return known + missed * interval


def _silence(judged: _Judged, ts: datetime) -> PresenceTransition:
    due = judged.due
    reason = reasons.silent(
        last_seen=due.last_seen,
        ts=ts,
        interval_s=due.interval_s,
        grace_s=due.grace_s,
        excused_s=judged.excused.total_seconds(),
        address=due.address,
        battery_pct=due.battery_pct,
        revoked_at=due.revoked_at,
    )
    state = PresenceState.OFFLINE if ts >= judged.offline_at else PresenceState.LATE
    return PresenceTransition(due.device_id, ts, due.tenant_id, due.state, state, reason)
