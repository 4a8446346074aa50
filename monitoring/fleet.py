"""What the admin shows of many devices at once: how many are in which state, and who is silent."""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Case, Count, IntegerField, Value, When

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
    state: PresenceState
    devices: int


def urgency(path: str) -> Case:
    """Orders by the state at `path`, the worst first."""
    return Case(
        *(When(**{path: state}, then=Value(rank)) for rank, state in enumerate(BY_URGENCY)),
        output_field=IntegerField(),
    )


def counts_by_state() -> list[StateCount]:
    """How many devices there are in each state, the worst state first, none left out."""
    rows = DeviceStatus.objects.values_list("state")
    counts = dict(rows.order_by().annotate(count=Count("pk")).values_list("state", "count"))
    return [StateCount(state, counts.get(state, 0)) for state in BY_URGENCY]


def silent_now(*, limit: int) -> Sequence[DeviceStatus]:
    """Devices that are offline, then those that are late; those newly so first."""
    silent = DeviceStatus.objects.filter(state__in=SILENT)
    silent = silent.select_related("device__site", "tenant")
    return list(silent.order_by(urgency("state"), "-state_since", "pk")[:limit])
