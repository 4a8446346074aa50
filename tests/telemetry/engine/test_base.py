"""Statements that are sent ahead of those that need them."""

import os
import select
import signal
from typing import Any

import pytest
from django.db import (
    DataError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from psycopg.pq import TransactionStatus

from scripts.waiting import await_condition

engine: Any = connection  # telemetry.engine's


def one(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_what_comes_next_waits_for_what_was_sent_ahead() -> None:
    engine.ensure_connection()
    engine.send_ahead(b"SELECT set_config('app.user_id', '7', false); SELECT pg_sleep(0.2)")
    engine.send_ahead(b"SELECT set_config('app.tenant_ids', '{5}', false)")
    assert one("SELECT current_setting('app.user_id') || current_setting('app.tenant_ids')") == (
        "7{5}"
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["cursor", "commit", "rollback", "another"])
def test_its_error_is_raised_by_what_comes_next(end: str) -> None:
    engine.ensure_connection()
    engine.send_ahead(b"SELECT 1; SELECT 1/0; SELECT 2")
    with pytest.raises(DataError, match="division by zero"):
        {
            "cursor": engine.cursor,
            "commit": engine.commit,
            "rollback": engine.rollback,
            "another": lambda: engine.send_ahead(b"SELECT 3"),
        }[end]()
    assert one("SELECT 4") == 4


@pytest.mark.django_db(transaction=True)
def test_of_a_transaction_nothing_is_done_without_what_was_sent_ahead() -> None:
    engine.ensure_connection()
    with transaction.atomic():
        engine.send_ahead(b"BEGN; SELECT set_config('app.user_id', '7', true)")
        with pytest.raises(ProgrammingError):
            one("SELECT 1")
        with pytest.raises(transaction.TransactionManagementError):
            one("SELECT 2")
    assert one("SELECT 3") == 3


@pytest.mark.django_db(transaction=True)
def test_a_long_one_is_sent_to_its_end() -> None:
    engine.ensure_connection()
    engine.send_ahead(b"SELECT '%s'" % (b"x" * 16_000_000))
    assert one("SELECT 1") == 1


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_was_begun_ahead_is_one() -> None:
    engine.ensure_connection()
    with pytest.raises(DataError), transaction.atomic():
        engine.send_ahead(b"BEGIN; CREATE TABLE sent_ahead (id integer)")
        one("SELECT 1/0")
    assert one("SELECT to_regclass('sent_ahead')") is None


def is_told() -> bool:
    """True if the server has said something that was not read yet."""
    return bool(select.select([engine.connection], [], [], 0)[0])


def status() -> TransactionStatus:
    return TransactionStatus(engine.connection.pgconn.transaction_status)


@pytest.mark.django_db(transaction=True)
def test_the_end_of_what_only_reads_is_not_waited_for() -> None:
    engine.ensure_connection()
    with transaction.atomic():
        engine.begin_ahead(b"SELECT set_config('app.user_id', '8', true)", reads=True)
        assert one("SELECT current_setting('app.user_id')") == "8"
    assert status() is TransactionStatus.ACTIVE
    # What follows is in no transaction, be it of its own or of the driver's.
    assert one("SELECT current_setting('app.user_id')") != "8"
    assert status() is TransactionStatus.IDLE
    assert engine.connection.autocommit
    with transaction.atomic():
        engine.begin_ahead(b"SELECT 1", reads=True)
    with transaction.atomic():
        assert one("SELECT current_setting('transaction_read_only')") == "off"
    assert status() is TransactionStatus.IDLE


@pytest.mark.django_db(transaction=True)
def test_what_only_reads_is_refused_to_write() -> None:
    engine.ensure_connection()
    with pytest.raises(InternalError, match="read-only"), transaction.atomic():
        engine.begin_ahead(b"SELECT 1", reads=True)
        one("CREATE TABLE written (id integer)")
    with transaction.atomic():
        engine.begin_ahead(b"CREATE TABLE written (id integer); DROP TABLE written")
    assert status() is TransactionStatus.IDLE


@pytest.mark.django_db(transaction=True)
def test_a_connection_whose_end_was_not_waited_for_is_kept() -> None:
    engine.ensure_connection()
    given_back = engine.connection
    with transaction.atomic():
        engine.begin_ahead(b"SELECT 1", reads=True)
        assert one("SELECT 2") == 2
    engine.close()
    assert not given_back.closed
    assert given_back.autocommit
    assert given_back.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_server_that_goes_at_the_end_of_what_only_reads_is_away(is_closed: bool) -> None:
    pid = one("SELECT pg_backend_pid()")
    with transaction.atomic():
        engine.begin_ahead(b"SELECT 1", reads=True)
        assert one("SELECT 2") == 2
        os.kill(pid, signal.SIGTERM)
        await_condition(is_told, 10, "its end")
    if is_closed:
        engine.close()
    else:
        with pytest.raises(OperationalError):
            one("SELECT 3")
        engine.close_if_unusable_or_obsolete()
    assert one("SELECT 4") == 4
    assert engine.connection.autocommit


@pytest.mark.django_db(transaction=True)
def test_a_server_that_goes_meanwhile_is_away() -> None:
    pid = one("SELECT pg_backend_pid()")
    engine.ensure_connection()
    with pytest.raises(OperationalError), transaction.atomic():
        engine.send_ahead(b"BEGIN; SELECT pg_sleep(60)")
        os.kill(pid, signal.SIGTERM)
        one("SELECT 1")
    await_condition(lambda: one("SELECT 5") == 5, 10, "another connection")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("many", [1000, 1001, 70_000])
def test_a_list_may_be_of_any_length(many: int) -> None:
    names = [f"it's 100 % {n}" for n in range(many)]
    with connection.cursor() as cursor:
        places = ", ".join(["(%s)"] * many)
        cursor.execute(f"SELECT count(*), max(v), 7 %% 4 FROM (VALUES {places}) AS x (v)", names)
        assert cursor.fetchone() == (many, max(names), 3)


@pytest.mark.django_db(transaction=True)
def test_of_statements_with_long_lists_no_plan_is_kept() -> None:
    for size in (3, 2000):
        for _ in range(8):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {size} = cardinality(%s::integer[])", [[*range(size)]])
                assert cursor.fetchone() == (True,)
    kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%cardinality%'"
    assert one(kept) == 1
