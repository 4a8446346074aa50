"""Statements that are sent ahead of those that need them."""

import os
import signal
from typing import Any

import pytest
from django.db import DataError, OperationalError, ProgrammingError, connection, transaction

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
