"""SQL on telemetry_presenceevent."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import fetch_binary


class PresenceTransition(NamedTuple):
    device_id: int
    time: datetime
    tenant_id: int
    previous_state: str
    state: str
    reason: str


COLUMNS = ", ".join(PresenceTransition._fields)

# Not COPY, which cannot write through the view that stands for the table in a tenant's scope.
INSERT = f"""
INSERT INTO telemetry_presenceevent ({COLUMNS})
SELECT * FROM unnest(%s::integer[], %s::timestamptz[], %s::integer[], %s::text[], %s::text[],
                     %s::text[])
"""

# From a view that is in order itself: a scope's view keeps LIMIT outside, and would have the whole
# past of a device sorted. With the state beside the time, this is the order of the table's key.
PAGE = """
SELECT time, previous_state, state, reason FROM telemetry_presenceevent_newest
WHERE device_id = %(device_id)s ORDER BY time DESC, state DESC LIMIT %(limit)s
"""
PAGE_AFTER = """
SELECT time, previous_state, state, reason FROM telemetry_presenceevent_newest
WHERE device_id = %(device_id)s AND time <= %(time)s AND (time, state) < (%(time)s, %(state)s)
ORDER BY time DESC, state DESC LIMIT %(limit)s
"""


def insert(cursor: CursorWrapper, transitions: Sequence[PresenceTransition]) -> None:
    """Writes the transitions, at least one."""
    cursor.execute(INSERT, [list(column) for column in zip(*transitions, strict=True)])


class StoredTransition(NamedTuple):
    """A transition as it stands in the table."""

    time: datetime
    previous_state: str
    state: str
    reason: str


def page(
    cursor: CursorWrapper, *, device_id: int, before: tuple[datetime, str] | None, limit: int
) -> list[StoredTransition]:
    """A device's transitions, newest first, those before the one with this time and state if it
    is given."""
    time, state = before or (None, None)
    values = {"device_id": device_id, "time": time, "state": state, "limit": limit}
    found = fetch_binary(cursor, PAGE if before is None else PAGE_AFTER, values)
    return [StoredTransition(*row) for row in found]
