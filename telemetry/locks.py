"""PostgreSQL advisory locks; every key of Rollcall stands in AdvisoryLock."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from django.db import connection

NAMESPACE = 0x526F6C6C  # "Roll"; the other half of the key is the lock's own


class AdvisoryLock(IntEnum):
    PRESENCE_SWEEP = 1
    BEAT = 2
    # The first shard's; shard n has DRAIN + n.
    DRAIN = 1000


def try_lock_in_transaction(key: int) -> bool:
    """Takes the lock until the transaction ends; False if somebody else has it."""
    return _ask("SELECT pg_try_advisory_xact_lock(%s, %s)", key)


@contextmanager
def session_lock(key: int) -> Iterator[bool]:
    """Holds the lock for the block, bound to this database connection; False if it is taken.

    PostgreSQL frees it when the connection dies. So whoever gets it may rely on this: no
    transaction of the previous holder's connection can commit any more.
    """
    held = _ask("SELECT pg_try_advisory_lock(%s, %s)", key)
    try:
        yield held
    finally:
        if held and connection.connection is not None and not connection.connection.closed:
            _ask("SELECT pg_advisory_unlock(%s, %s)", key)


@contextmanager
def session_lock_awaited(key: int, *, timeout_s: float) -> Iterator[None]:
    """As session_lock, but waits in line until the lock is free.

    Raises OperationalError if that takes longer than `timeout_s`.
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
