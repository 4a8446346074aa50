"""Two changes to the same thing at the same moment, in a fixed order."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection, transaction

from scripts.waiting import await_condition
from tests.waits import LIMIT_S

Result = TypeVar("Result")
Lock = Callable[[], object]

WAITING = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


def after_waiting_for(change: Callable[[], object], work: Callable[[], Result]) -> Result:
    """What `work` returns or raises if it begins before `change` is committed and has to wait for
    it. For transactional tests."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            waiting = pool.submit(_with_own_connection, work)
            await_condition(_is_waited_for, LIMIT_S, "the second to wait for the first")
        return waiting.result(LIMIT_S)


def elsewhere(change: Callable[[], Result]) -> Result:
    """Commits a change on another connection, inside a transaction that stays open."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_with_own_connection, change).result(LIMIT_S)


def at_once(*works: Callable[[], Result]) -> list[Result]:
    """Runs them at the same time, each on its own connection; returns their results."""
    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(_with_own_connection, work) for work in works]
        return [one.result(LIMIT_S) for one in running]


def against(work: Callable[[], Result], *, first: Lock, second: Lock) -> Result:
    """What `work` returns in a deadlock: it locks the first and then the second, while another
    transaction has the second and then wants the first. PostgreSQL ends the one that waited first,
    which is `work`."""

    def oppose() -> None:
        with transaction.atomic():
            second()
            held.set()
            await_condition(_is_waited_for, LIMIT_S, "the work to wait for the second")
            first()

    held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        opposing = pool.submit(_with_own_connection, oppose)
        held.wait(LIMIT_S)
        result = work()
        opposing.result(LIMIT_S)
    return result


def _with_own_connection(work: Callable[[], Result]) -> Result:
    try:
        return work()
    finally:
        connection.close()


def _is_waited_for() -> bool:
    with connection.cursor() as cursor:
        # Inside a transaction, the server keeps returning the first answer.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(WAITING)
        return bool(cursor.fetchone()[0])
