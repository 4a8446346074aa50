"""SQL on telemetry_presenceevent."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper


class PresenceTransition(NamedTuple):
    device_id: int
    time: datetime
    tenant_id: int
    previous_state: str
    state: str
    reason: str


COLUMNS = ", ".join(PresenceTransition._fields)


def copy_transitions(cursor: CursorWrapper, transitions: Iterable[PresenceTransition]) -> None:
    with cursor.copy(f"COPY telemetry_presenceevent ({COLUMNS}) FROM STDIN") as copy:
        for transition in transitions:
            copy.write_row(transition)


def timeline(
    cursor: CursorWrapper, *, device_id: int, limit: int
) -> Sequence[tuple[datetime, str, str, str]]:
    """A device's transitions, newest first: (time, previous_state, state, reason)."""
    cursor.execute(
        "SELECT time, previous_state, state, reason FROM telemetry_presenceevent "
        "WHERE device_id = %s ORDER BY time DESC LIMIT %s",
        [device_id, limit],
    )
    return cursor.fetchall()
