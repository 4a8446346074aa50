"""The sweep: finds the devices that have become refused, late or offline, and judges those again
whose interval or grace has changed. It also ends pauses.

A device is late once it has been silent for its interval and grace, and offline after twice that;
while its messages are refused, it is `refused` instead (telemetry.presence.verdicts). `late_at` and
`offline_at` in telemetry_devicestatus say when to look, so finding silent devices never reads
history. Every transition is stored as a presence event with its reason.
"""

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from telemetry.locks import AdvisoryLock, try_lock_in_transaction
from telemetry.models import PresenceBreak, PresenceState, PresenceSweep
from telemetry.presence.listening import Unheard
from telemetry.presence.pausing import pauses_end
from telemetry.presence.transitions import reasons_write, statuses_announce, transitions_write
from telemetry.presence.verdicts import verdicts_on
from telemetry.sql import devicestatus
from telemetry.sql.presenceevent import PresenceTransition

log = logging.getLogger(__name__)

SWEEP_BATCH = 5000
REFUSALS_STALE_AFTER = timedelta(seconds=60)


# Without collected refusals a sweep cannot tell who is refused from who is silent. After this long
# it judges all the same: a device that died must not look alive for ever.
REFUSALS_HOLD = timedelta(minutes=5)


class SweepResult(NamedTuple):
    """How many devices became late, how many offline, and how many changed otherwise: refused,
    online by a new interval, or resumed."""

    late: int
    offline: int
    others: int = 0


def presence_sweep(
    *, ts: datetime, heard_until: datetime, unheard: Unheard | None = None
) -> SweepResult:
    """Judges devices whose deadline passed by `heard_until`, at most `ts`.

    Every message accepted up to `heard_until` is stored: a device whose heartbeat is still waiting
    in the stream is not silent. Neither is one whose refused messages are not collected yet, so a
    sweep judges no later than they are. `unheard` is the latest period in which no server listened.
    A gap of `sweepless_after()` since the last sweep counts as such a period, too. Messages that
    were due in it are excused. Sweeps exclude each other: a second one does nothing.
    """
    counts: Counter[str] = Counter()
    sweep = _note_sweep(ts, unheard)
    if sweep is not None:
        counts["resumed"] = pauses_end(ts=ts)
        until = min(ts, heard_until, _refusals_until(sweep, ts))
        looked = SWEEP_BATCH
        while looked == SWEEP_BATCH:
            looked, transitions = _sweep_batch(ts=until)
            counts.update(transition.state for transition in transitions)
    late, offline = counts.pop(PresenceState.LATE, 0), counts.pop(PresenceState.OFFLINE, 0)
    return SweepResult(late, offline, counts.total())


def _refusals_until(sweep: PresenceSweep, ts: datetime) -> datetime:
    until = sweep.refusals_until
    return ts if until is None or ts - until > REFUSALS_HOLD else until


def refusals_stale_since(ts: datetime) -> datetime | None:
    """Up to when refused messages are collected, if that is too long ago; None if all is well or
    none was ever collected."""
    sweep = PresenceSweep.objects.order_by("id").first()
    until = sweep and sweep.refusals_until
    return until if until and ts - until > REFUSALS_STALE_AFTER else None


def sweepless_after() -> timedelta:
    """The length from which a gap between two sweeps means that nobody listened in between."""
    return timedelta(seconds=max(60.0, 3 * settings.PRESENCE_SWEEP_S))


def last_sweep_at() -> datetime | None:
    """When presence was last swept; None if it never was."""
    sweep = PresenceSweep.objects.order_by("id").first()
    return sweep.swept_at if sweep else None


@transaction.atomic
def _note_sweep(ts: datetime, unheard: Unheard | None) -> PresenceSweep | None:
    """Records this sweep, and when nobody listened before it. None if another one is running."""
    if not try_lock_in_transaction(AdvisoryLock.PRESENCE_SWEEP):
        return None
    sweep = PresenceSweep.objects.order_by("id").first() or PresenceSweep(swept_at=ts)
    if unheard:
        _note_break(unheard)
    if ts - sweep.swept_at >= sweepless_after():
        _note_break(Unheard(sweep.swept_at, ts))
    sweep.swept_at = ts
    # Collecting refusals moves the other column, maybe just now.
    sweep.save(update_fields=None if sweep.pk is None else ["swept_at"])
    return sweep


def _note_break(unheard: Unheard) -> None:
    _, is_new = PresenceBreak.objects.get_or_create(since=unheard.since, until=unheard.until)
    if is_new:
        words = "no server listened from %s to %s: messages that were due then are excused"
        log.warning(words, unheard.since, unheard.until)


@transaction.atomic
def _sweep_batch(*, ts: datetime) -> tuple[int, list[PresenceTransition]]:
    """Returns how many devices it looked at, and which of them changed their state."""
    with connection.cursor() as cursor:
        due = devicestatus.lock_due(cursor, ts=ts, limit=SWEEP_BATCH)
        verdicts = verdicts_on(due, ts=ts)
        moved = [one for one in verdicts if one.state != one.due.state]
        stay = [one for one in verdicts if one.state == one.due.state]
        devicestatus.look_again(cursor, at={one.due.device_id: one.look_at for one in stay})
    # A device that stays silent is told by its new interval, too.
    words = {one.due.device_id: one.reason for one in stay if one.due.is_changed and one.is_silent}
    transitions = [one.transition for one in moved]
    changes = transitions_write(
        transitions=transitions, look_at={one.due.device_id: one.look_at for one in moved}
    )
    statuses_announce(changes=changes + reasons_write(words=words))
    return len(due), transitions
