"""PostgreSQL advisory locks. AdvisoryLock lists every key that Rollcall uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from django.db import connection

NAMESPACE = 0x526F6C6C  # "Roll" in ASCII; the other half of the key is an AdvisoryLock


class AdvisoryLock(IntEnum):
    PRESENCE_SWEEP = 1
    BEAT = 2
    # Shard n uses DRAIN + n.
    DRAIN = 1000


def try_lock_in_transaction(key: int) -> bool:
    """Takes the lock until the transaction ends. Returns False if another session holds it."""
    return _ask("SELECT pg_try_advisory_xact_lock(%s, %s)", key)


@contextmanager
def session_lock(key: int) -> Iterator[bool]:
    """Holds the lock while the `with` block runs. Yields False if another session holds it.

    PostgreSQL releases it when the connection dies. So the next holder can be sure that no
    transaction on the previous holder's connection can still commit.
    """
    held = _ask("SELECT pg_try_advisory_lock(%s, %s)", key)
    try:
        yield held
    finally:
        if held and connection.connection is not None and not connection.connection.closed:
            _ask("SELECT pg_advisory_unlock(%s, %s)", key)


@contextmanager
def session_lock_awaited(key: int, *, timeout_s: float) -> Iterator[None]:
    """Like session_lock, but waits until the lock is free.

    Raises OperationalError after waiting for `timeout_s`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{timeout_s * 1000:.0f}"])
        try:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [NAMESPACE, key])
        finally:
            cursor.execute("RESET lock_timeout")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            _ask("SELECT pg_advisory_unlock(%s, %s)", key)


def _ask(query: str, key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, [NAMESPACE, key])
        return bool(cursor.fetchone()[0])
