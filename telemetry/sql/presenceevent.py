"""SQL on telemetry_presenceevent."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import copy_lines, moment, text


class PresenceTransition(NamedTuple):
    device_id: int
    time: datetime
    tenant_id: int
    previous_state: str
    state: str
    reason: str


COLUMNS = ", ".join(PresenceTransition._fields)


def copy_transitions(cursor: CursorWrapper, transitions: Iterable[PresenceTransition]) -> None:
    copy_lines(cursor, f"telemetry_presenceevent ({COLUMNS})", map(_line, transitions))


def _line(transition: PresenceTransition) -> str:
    device_id, time, tenant_id, previous_state, state, reason = transition
    return "\t".join(
        (str(device_id), moment(time), str(tenant_id), previous_state, state, text(reason))
    )


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
