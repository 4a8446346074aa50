"""Many devices at once, for the admin: how many are in each state, and which need attention."""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Case, Count, IntegerField, Max, Q, Value, When
from django.db.models.functions import Coalesce

from telemetry.models import DeviceStatus, PresenceState

# Worst first.
BY_URGENCY = (
    PresenceState.OFFLINE,
    PresenceState.LATE,
    PresenceState.REFUSED,
    PresenceState.NEW,
    PresenceState.PAUSED,
    PresenceState.ONLINE,
)
IN_TROUBLE = (PresenceState.OFFLINE, PresenceState.LATE, PresenceState.REFUSED)
# A refused device may never have been heard, and may have been silent for long before.
NEWS_AT = Case(
    When(state=PresenceState.REFUSED, then="state_since"),
    default=Coalesce("last_seen", "state_since"),
)


class StateCount(NamedTuple):
    """The devices in a state: their number, their highest id, and how many were added since."""

    state: PresenceState
    devices: int
    newest_id: int
    added: int


class Seen(NamedTuple):
    """The devices that a user saw when they opened a list, as a count and the highest id."""

    devices: int
    newest_id: int


class Changes(NamedTuple):
    """How many devices were added and deleted since. A device that was both counts as neither."""

    added: int
    deleted: int


def urgency(path: str) -> Case:
    """Orders by the state at `path`, the worst first."""
    return Case(
        *(When(**{path: state}, then=Value(rank)) for rank, state in enumerate(BY_URGENCY)),
        output_field=IntegerField(),
    )


def counts_by_state(*, after_id: int = 0) -> list[StateCount]:
    """The number of devices in each state, worst first, states without devices included; `added`
    counts those with an id above `after_id`."""
    rows = DeviceStatus.objects.order_by().values("state")
    rows = rows.annotate(
        devices=Count("pk"), newest_id=Max("pk"), added=Count("pk", filter=Q(pk__gt=after_id))
    )
    counts = {row[0]: StateCount(*row) for row in rows.values_list(*StateCount._fields)}
    return [counts.get(state, StateCount(state, 0, 0, 0)) for state in BY_URGENCY]


def seen_in(counts: Sequence[StateCount]) -> Seen:
    return Seen(sum(one.devices for one in counts), max(one.newest_id for one in counts))


def changes_since(seen: Seen, counts: Sequence[StateCount]) -> Changes:
    """What has changed since; `counts` must be counted with `after_id=seen.newest_id`."""
    added = sum(one.added for one in counts)
    return Changes(added, max(0, seen.devices + added - seen_in(counts).devices))


def in_trouble(*, limit: int) -> Sequence[DeviceStatus]:
    """Refused, late and offline devices, the most recently seen first, so that news is on top."""
    latest = DeviceStatus.objects.filter(state__in=IN_TROUBLE).order_by(NEWS_AT.desc(), "pk")
    # The subquery sorts keys only; all these devices are sorted for it.
    shown = latest.filter(pk__in=latest.values("pk")[:limit])
    return list(shown.select_related("device__site", "tenant"))
