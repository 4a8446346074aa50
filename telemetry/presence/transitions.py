"""Writes presence transitions, and announces them once they are committed."""

from collections.abc import Sequence

from django.db import connection, transaction

from telemetry.signals import statuses_changed
from telemetry.sql import devicestatus, presenceevent
from telemetry.sql.presenceevent import PresenceTransition
from telemetry.statuses import StatusChange


def transitions_write(*, transitions: Sequence[PresenceTransition]) -> list[StatusChange]:
    """Writes new states and presence events. The caller must have locked the status rows."""
    if not transitions:
        return []
    with connection.cursor() as cursor:
        changes = devicestatus.set_states(cursor, transitions=transitions)
        presenceevent.insert(cursor, transitions)
    return changes


def statuses_announce(*, changes: list[StatusChange]) -> None:
    """Sends statuses_changed once the transaction is committed."""
    if changes:
        transaction.on_commit(lambda: statuses_changed.send(None, changes=changes))
