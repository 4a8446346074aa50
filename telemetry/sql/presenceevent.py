"""SQL for telemetry_presenceevent."""

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

# Not COPY: it cannot write through the view that replaces the table in a tenant's scope.
INSERT = f"""
INSERT INTO telemetry_presenceevent ({COLUMNS})
SELECT * FROM unnest(%s::integer[], %s::timestamptz[], %s::integer[], %s::text[], %s::text[],
                     %s::text[])
"""

# Reads from a view that is already sorted: LIMIT is not pushed into a scope's view, so the device's
# whole history would be sorted for each page. The key is sorted by time and then state.
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
    """Writes the transitions; there must be at least one."""
    cursor.execute(INSERT, [list(column) for column in zip(*transitions, strict=True)])


class StoredTransition(NamedTuple):
    """A row of the table, for one device."""

    time: datetime
    previous_state: str
    state: str
    reason: str


def page(
    cursor: CursorWrapper, *, device_id: int, before: tuple[datetime, str] | None, limit: int
) -> list[StoredTransition]:
    """A device's transitions, newest first. `before` is the time and state of the transition that
    the page starts after."""
    time, state = before or (None, None)
    values = {"device_id": device_id, "time": time, "state": state, "limit": limit}
    found = fetch_binary(cursor, PAGE if before is None else PAGE_AFTER, values)
    return [StoredTransition(*row) for row in found]
