"""What the admin shows of many devices at once: how many are in which state, and who is silent."""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Case, Count, IntegerField, Max, Q, Value, When

from telemetry.models import DeviceStatus, PresenceState

# Worst first, as people want to see them.
BY_URGENCY = (
    PresenceState.OFFLINE,
    PresenceState.LATE,
    PresenceState.NEW,
    PresenceState.PAUSED,
    PresenceState.ONLINE,
)
SILENT = (PresenceState.OFFLINE, PresenceState.LATE)


class StateCount(NamedTuple):
    """Of the devices in a state: how many, the highest id, and how many have one beyond a given."""

    state: PresenceState
    devices: int
    newest_id: int
    added: int


class Seen(NamedTuple):
    """What somebody has seen of which devices there are: how many, and the highest id."""

    devices: int
    newest_id: int


class Changes(NamedTuple):
    """How many devices have come and gone since. One that came and went counts as neither."""

    added: int
    deleted: int


def urgency(path: str) -> Case:
    """Orders by the state at `path`, the worst first."""
    return Case(
        *(When(**{path: state}, then=Value(rank)) for rank, state in enumerate(BY_URGENCY)),
        output_field=IntegerField(),
    )


def counts_by_state(*, after_id: int = 0) -> list[StateCount]:
    """How many devices there are in each state, the worst state first, none left out; `added` are
    those with an id beyond `after_id`."""
    rows = DeviceStatus.objects.order_by().values("state")
    rows = rows.annotate(
        devices=Count("pk"), newest_id=Max("pk"), added=Count("pk", filter=Q(pk__gt=after_id))
    )
    counts = {row[0]: StateCount(*row) for row in rows.values_list(*StateCount._fields)}
    return [counts.get(state, StateCount(state, 0, 0, 0)) for state in BY_URGENCY]


def seen_in(counts: Sequence[StateCount]) -> Seen:
    return Seen(sum(one.devices for one in counts), max(one.newest_id for one in counts))


def changes_since(seen: Seen, counts: Sequence[StateCount]) -> Changes:
    """What has changed when there are as many now; counted with `after_id=seen.newest_id`."""
    added = sum(one.added for one in counts)
    return Changes(added, max(0, seen.devices + added - seen_in(counts).devices))


def silent_now(*, limit: int) -> Sequence[DeviceStatus]:
    """Devices that are late or offline, the one that spoke last first, so that news is on top."""
    latest = DeviceStatus.objects.filter(state__in=SILENT).order_by("-last_seen", "pk")
    # Found by their keys alone: all that are silent are sorted for it.
    shown = latest.filter(pk__in=latest.values("pk")[:limit])
    return list(shown.select_related("device__site", "tenant"))
