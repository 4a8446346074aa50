"""Writes transitions of presence, and tells those who watch once they are committed."""

from collections.abc import Sequence

from django.db import connection, transaction

from telemetry.signals import statuses_changed
from telemetry.sql import devicestatus, presenceevent
from telemetry.sql.presenceevent import PresenceTransition
from telemetry.statuses import StatusChange


def transitions_write(*, transitions: Sequence[PresenceTransition]) -> list[StatusChange]:
    """Writes new states and their events, for devices whose status rows the caller has locked."""
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
