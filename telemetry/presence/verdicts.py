"""What a sweep decides about a device: its state at a moment, the reason, and when to look next.

    heard      until the latest accepted message + interval + grace      online
    refused    until the latest refused message + interval + grace       refused
    silent     until twice that after the latest message of either kind  late
               from then on                                              offline

A pause and messages that were due while no server listened are excused: they move these times.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property

from telemetry.models import PresenceBreak, PresenceState
from telemetry.presence import reasons
from telemetry.presence.listening import Unheard
from telemetry.presence.transitions import just_after
from telemetry.sql.devicestatus import Due
from telemetry.sql.presenceevent import PresenceTransition

NEVER = datetime.min.replace(tzinfo=UTC)
SILENT = (PresenceState.LATE, PresenceState.OFFLINE)
# Time moves a device only forward in this order: a resumed device is late until it is heard, though
# little of its silence counts. Only a new interval or grace may move it back.
BY_AGE = (PresenceState.ONLINE, PresenceState.REFUSED, *SILENT)


class Verdict:
    """What to do at `ts` about a device that was heard or refused at least once."""

    def __init__(self, due: Due, *, ts: datetime, unheard: Sequence[Unheard]) -> None:
        self.due = due
        self._ts = ts
        self._unheard = unheard
        self._allowed = timedelta(seconds=due.interval_s + due.grace_s)
        refused, seen = due.refused, due.last_seen
        self._refused = refused if refused and (seen is None or refused.at > seen) else None

    @cached_property
    def state(self) -> PresenceState:
        states = (PresenceState(self.due.state), self._by_age())
        return states[1] if self.due.is_changed else max(states, key=BY_AGE.index)

    @property
    def is_silent(self) -> bool:
        return self.state in SILENT

    @property
    def look_at(self) -> datetime | None:
        """When the state ends if no message comes; None for an offline device."""
        ends = {
            PresenceState.ONLINE: self._online_until,
            PresenceState.REFUSED: self._refused_until,
            PresenceState.LATE: self._late_until,
        }
        return ends.get(self.state)

    @property
    def reason(self) -> str:
        due = self.due
        if self.state == PresenceState.ONLINE:
            return reasons.expected(
                silence_s=(self._ts - contact_of(due)).total_seconds(),
                interval_s=due.interval_s,
                grace_s=due.grace_s,
            )
        if self.state == PresenceState.REFUSED and self._refused:
            return reasons.refused(self._refused)
        return reasons.silent(
            last_contact=contact_of(due),
            ts=self._ts,
            interval_s=due.interval_s,
            grace_s=due.grace_s,
            is_changed=due.is_changed,
            excused_s=self._excused.total_seconds(),
            address=due.address,
            battery_pct=due.battery_pct,
            revoked_at=due.revoked_at,
            refused=self._refused,
        )

    @property
    def transition(self) -> PresenceTransition:
        due = self.due
        at = just_after(due.state_since, self._ts)
        return PresenceTransition(
            due.device_id, at, due.tenant_id, due.state, self.state, self.reason
        )

    def _by_age(self) -> PresenceState:
        if self._ts < self._online_until:
            return PresenceState.ONLINE
        if self._ts < self._refused_until:
            return PresenceState.REFUSED
        return PresenceState.LATE if self._ts < self._late_until else PresenceState.OFFLINE

    @cached_property
    def _online_until(self) -> datetime:
        return NEVER if self.due.last_seen is None else self._deadline(self.due.last_seen)

    @cached_property
    def _refused_until(self) -> datetime:
        if self._refused is None:
            return self._online_until
        return max(self._online_until, self._deadline(self._refused.at))

    @cached_property
    def _late_until(self) -> datetime:
        offline_at = self._deadline(self._counted_from) + self._allowed
        return max(self._refused_until, offline_at)

    @property
    def _counted_from(self) -> datetime:
        """The latest contact or, after a pause, when the device was resumed."""
        contact, seen = contact_of(self.due), self.due.last_seen
        return contact if seen is None else max(contact, seen + self._excused_by_pause)

    @property
    def _excused_by_pause(self) -> timedelta:
        return timedelta(seconds=self.due.excused_s)

    @property
    def _excused(self) -> timedelta:
        """How much of the silence does not count."""
        since = self._counted_from
        return since - contact_of(self.due) + self._missed(since)

    def _deadline(self, since: datetime) -> datetime:
        return since + self._missed(since) + self._allowed

    def _missed(self, since: datetime) -> timedelta:
        """One interval for each message that was due after `since` while no server listened.

        The length of a break does not matter: a short one can lose a message, and a long one loses
        none if none was due.
        """
        # Forms and the API do not accept an interval of 0, but the column does.
        interval = timedelta(seconds=max(1, self.due.interval_s))
        grace = timedelta(seconds=self.due.grace_s)
        # The nth message is due n intervals after `since`, and at most `grace` later. A break may
        # have lost it if the break overlaps that span: true of every n from `first` to `last`. With
        # a long grace a span can overlap several breaks, so counting resumes after the `last` of
        # earlier breaks: no message is excused twice.
        missed = last = 0
        for start, end in self._unheard:
            first = max(last + 1, -((since + grace - start) // interval))
            last = max(last, (end - since) // interval)
            missed += max(0, last - first + 1)
        return missed * interval


def verdicts_on(due: Sequence[Due], *, ts: datetime) -> list[Verdict]:
    """What to do at `ts` about devices that were heard or refused at least once."""
    if not due:
        return []
    oldest = min(one.last_seen or contact_of(one) for one in due)
    breaks = PresenceBreak.objects.filter(until__gt=oldest).order_by("since")
    unheard = [Unheard(one.since, one.until) for one in breaks]
    return [Verdict(one, ts=ts, unheard=unheard) for one in due]


def contact_of(due: Due) -> datetime:
    """When the latest message came, accepted or refused."""
    times = (due.last_seen, due.refused and due.refused.at)
    # Only somebody who deletes rows by hand leaves a device without either.
    return max((time for time in times if time), default=due.state_since)
