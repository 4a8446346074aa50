"""Statements of any number of parameters."""

from typing import Any

import pytest
from django.db import connection


def one(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


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
