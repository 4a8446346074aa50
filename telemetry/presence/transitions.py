"""Writes presence transitions, and announces them once they are committed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from telemetry.signals import statuses_changed
from telemetry.sql import devicestatus, presenceevent
from telemetry.sql.presenceevent import PresenceTransition
from telemetry.statuses import StatusChange


def transitions_write(
    *,
    transitions: Sequence[PresenceTransition],
    look_at: Mapping[int, datetime | None] | None = None,
) -> list[StatusChange]:
    """Writes new states and presence events. The caller must have locked the status rows.

    `look_at` says, by device, when a sweep next looks at it.
    """
    if not transitions:
        return []
    with connection.cursor() as cursor:
        changes = devicestatus.set_states(cursor, transitions=transitions, look_at=look_at or {})
        presenceevent.insert(cursor, transitions)
    return changes


def reasons_write(*, words: Mapping[int, str]) -> list[StatusChange]:
    """Writes new reasons, by device, for states that stay. The caller must have locked the rows."""
    if not words:
        return []
    with connection.cursor() as cursor:
        return devicestatus.set_reasons(cursor, words=words)


def just_after(state_since: datetime, ts: datetime) -> datetime:
    """`ts`, but later than the state before: a sweep judges by a time that lies a little back, and
    a device's events are told apart by their times."""
    return max(ts, state_since + timedelta(microseconds=1))


def statuses_announce(*, changes: list[StatusChange]) -> None:
    """Sends statuses_changed once the transaction is committed."""
    if changes:
        transaction.on_commit(lambda: statuses_changed.send(None, changes=changes))
