"""Refused messages: a device whose messages are refused speaks, so it is not silent."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Coalesce, Greatest

from telemetry.models import PresenceState, PresenceSweep
from telemetry.presence import reasons
from telemetry.presence.transitions import (
    just_after,
    reasons_write,
    statuses_announce,
    transitions_write,
)
from telemetry.sql import devicestatus, lastrefusal
from telemetry.sql.devicestatus import Chosen
from telemetry.sql.lastrefusal import RefusalGroup, Refused
from telemetry.sql.presenceevent import PresenceTransition

# A device that goes on being refused gets a new reason in each period of this length.
RETELL_S = 10
ENTERED_FROM = (PresenceState.NEW, PresenceState.LATE, PresenceState.OFFLINE)


class RefusedContact(NamedTuple):
    """Messages of a device that were refused, `messages` of them, the first at `since` (None: also
    `at`) and the last at `at` by our clock.

    `reason` is in words, such as "`battery_pct` 255, at most 100"; `sample` is what one of them
    said. If `accepted`, the messages were accepted, but without the values that `reason` names.
    """

    device_id: int
    tenant_id: int
    at: datetime
    messages: int
    reason: str
    sample: str
    accepted: bool = False
    since: datetime | None = None

    @property
    def first_at(self) -> datetime:
        return self.since or self.at


@transaction.atomic
def refused_note(*, contacts: Sequence[RefusedContact], collected_until: datetime) -> int:
    """Records contacts that were refused; devices that were new, late or offline become `refused`.

    Every contact up to `collected_until` must be in this call or an earlier one: the sweep judges
    no later than that. Call it with no contacts, too, to move that time forward. Contacts of
    devices that do not exist are ignored. Returns how many devices became `refused`.
    """
    transitions: list[PresenceTransition] = []
    if groups := _groups(contacts):
        with connection.cursor() as cursor:
            # Before the refusals are written, or a sweep could judge a device without them.
            ids = [one.device_id for one in groups if not one.accepted]
            locked = devicestatus.lock_chosen(cursor, ids=ids)
            refused = lastrefusal.note(cursor, groups)
        transitions = _tell(locked, refused, collected_until)
    PresenceSweep.objects.update(
        refusals_until=Greatest(Coalesce("refusals_until", collected_until), collected_until)
    )
    return len(transitions)


def _groups(contacts: Sequence[RefusedContact]) -> list[RefusalGroup]:
    """The contacts of each device together, in the order in which every writer locks devices."""
    groups: dict[tuple[int, bool], RefusalGroup] = {}
    for one in sorted(contacts, key=lambda one: (one.device_id, one.accepted, one.at)):
        key = one.device_id, one.accepted
        before = groups.get(key)
        groups[key] = RefusalGroup(
            device_id=one.device_id,
            tenant_id=one.tenant_id,
            accepted=one.accepted,
            at=one.at,
            since=min(before.since, one.first_at) if before else one.first_at,
            messages=one.messages + (before.messages if before else 0),
            reason=one.reason,
            sample=one.sample,
        )
    return list(groups.values())


def _tell(
    locked: Sequence[Chosen], refused: Mapping[int, Refused], collected_until: datetime
) -> list[PresenceTransition]:
    """Writes which devices become `refused`, and new reasons of those that already are."""
    transitions, look_at, words = [], {}, {}
    for one in locked:
        now = refused.get(one.device_id)
        if now is None or (one.last_seen is not None and now.at <= one.last_seen):
            continue
        reason = reasons.refused(now)
        silent_at = now.at + timedelta(seconds=one.interval_s + one.grace_s)
        is_heard = one.state == PresenceState.NEW or silent_at > collected_until
        if one.state in ENTERED_FROM and is_heard:
            transitions.append(
                PresenceTransition(
                    one.device_id,
                    just_after(one.state_since, now.at),
                    one.tenant_id,
                    one.state,
                    PresenceState.REFUSED,
                    reason,
                )
            )
            look_at[one.device_id] = silent_at
        elif one.state == PresenceState.REFUSED and _is_stale(one, now):
            words[one.device_id] = reason
    changes = transitions_write(transitions=transitions, look_at=look_at)
    statuses_announce(changes=changes + reasons_write(words=words))
    return transitions


def _is_stale(chosen: Chosen, now: Refused) -> bool:
    """Whether the reason of a refused device is out of date. Not with each message, or everybody
    who watches would be told each time."""
    before = chosen.refused
    return before is None or before.reason != now.reason or _period(before.at) != _period(now.at)


def _period(time: datetime) -> int:
    return int(time.timestamp()) // RETELL_S
