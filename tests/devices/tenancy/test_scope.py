"""The database shows and gives a tenant no row of another one, in any table, by any query."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
import pytest
from django.db import (
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.test.utils import CaptureQueriesContext

from devices.models import Membership, Tenant
from devices.tenancy.access import Access
from devices.tenancy.scope import ScopeError, access_scope, operator_scope, tenant_scope
from tests.conftest import Fleet, Told
from tests.services import endpoints
from tests.tenant_tables import (
    compress,
    count,
    hypertables,
    is_community,
    row_ensure,
    row_for,
    row_insert,
    state,
    tenant_column,
    tenant_models,
    tenant_tables,
)

# Includes the chunks with compressed data.
CHUNKS = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = '_timescaledb_internal' AND c.relname LIKE '%%_chunk'
"""
# A statement is prepared the fifth time it runs.
ASKED = 6
TABLES = sorted(model._meta.db_table for model in tenant_models())
# Views in both schemas, each of a table.
VIEWS = {
    "telemetry_reading_newest": "telemetry_reading",
    "telemetry_presenceevent_newest": "telemetry_presenceevent",
}
SEEN = (*TABLES, *VIEWS)


@pytest.fixture(autouse=True)
def nobody_tried_yet() -> None:
    """Replaces the fixture that clears the cache: nobody signs in here, and the run on the
    Community edition has no Valkey."""


@pytest.fixture
def full(acme: Fleet, rival: Fleet) -> None:
    """Two tenants with rows in every table, compressed where the edition can."""
    for fleet in (acme, rival):
        for table in TABLES:
            row_ensure(table, fleet)
    if is_community():
        assert all(compress(table) for table in hypertables())


@contextmanager
def scope_of(fleet: Fleet) -> Iterator[None]:
    with tenant_scope(tenant_ids=[fleet.tenant.pk], user_id=fleet.manager.pk):
        yield


def unscoped() -> list[str]:
    """The relations that show rows of all tenants."""
    return [f"public.{name}" for name in (*hypertables(), *VIEWS)]


def column_of(statement: str, *values: Any) -> set[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return {value for (value,) in cursor.fetchall()}


def change(statement: str, *values: Any) -> int:
    """How many rows a statement changed; 0 if the database refused it."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
            return int(cursor.rowcount)
    except (ProgrammingError, IntegrityError) as error:
        words = ("permission denied", "row-level security", "check option", "cannot")
        assert any(one in str(error) for one in words), error
        return 0


@pytest.mark.django_db
def test_no_table_with_a_tenant_is_forgotten() -> None:
    assert tenant_tables() == TABLES
    partitioned = hypertables()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND "
            "relnamespace = 'public'::regnamespace"
        )
        by_policy = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT viewname FROM pg_views WHERE schemaname = 'scoped'")
        by_view = {name for (name,) in cursor.fetchall()}
    assert set(TABLES) - partitioned <= by_policy
    assert {*VIEWS, *partitioned.intersection(TABLES)} == by_view


@pytest.mark.usefixtures("full")
def test_a_member_sees_the_rows_of_their_own_tenant_only(
    acme: Fleet, rival: Fleet, told: Told
) -> None:
    for table in told(SEEN, "tables and views, seen from five scopes"):
        with scope_of(rival):
            assert count(table, acme) == 0
        with scope_of(acme):
            assert count(table, acme) > 0
            assert count(table, rival) == 0
        with tenant_scope(tenant_ids=[acme.tenant.pk, rival.tenant.pk]):
            assert count(table, acme) and count(table, rival)
        with operator_scope(user_id=acme.manager.pk):
            assert count(table, acme) and count(table, rival)


@pytest.mark.usefixtures("full")
def test_a_statement_that_is_planned_once_shows_each_scope_its_own(
    acme: Fleet, rival: Fleet, told: Told
) -> None:
    own, foreign = acme.tenant.pk, rival.tenant.pk
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    for table in told(SEEN, "tables and views, seen by statements that are prepared"):
        column = tenant_column(table)
        statement = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IN (%s, %s)"
        for _ in range(ASKED):
            for tenant_ids in ([own], [foreign], [], [own, foreign]):
                with tenant_scope(tenant_ids=tenant_ids):
                    assert column_of(statement, own, foreign) == set(tenant_ids), table
            with operator_scope(user_id=acme.manager.pk):
                assert column_of(statement, own, foreign) == {own, foreign}, table
    planned = column_of("SELECT statement FROM pg_prepared_statements WHERE generic_plans > 0")
    assert all(any(f"FROM {table} WHERE" in one for one in planned) for table in SEEN)


@pytest.mark.usefixtures("full")
def test_without_a_tenant_nobody_sees_a_row(told: Told) -> None:
    with tenant_scope(tenant_ids=[]), connection.cursor() as cursor:
        for table in told(SEEN, "tables and views, seen without a tenant"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,), table


@pytest.mark.usefixtures("full")
def test_an_outsider_changes_adds_moves_and_deletes_nothing(
    acme: Fleet, rival: Fleet, told: Told
) -> None:
    before, own = state(TABLES, acme), state(TABLES, rival)
    rows = {table: row_for(VIEWS.get(table, table), acme) for table in SEEN}
    with scope_of(rival):
        for table in told(SEEN, "tables and views, with four ways to change them"):
            column = tenant_column(table)
            change(f"UPDATE {table} SET {column} = {column} WHERE {column} = %s", acme.tenant.pk)
            change(f"DELETE FROM {table} WHERE {column} = %s", acme.tenant.pk)
            assert change(f"UPDATE {table} SET {column} = %s", acme.tenant.pk) == 0, table
            names, places = ", ".join(rows[table]), ", ".join(["%s"] * len(rows[table]))
            inserted = f"INSERT INTO {table} ({names}) VALUES ({places})"
            if table != "devices_tenant":  # its rows belong to no tenant
                assert change(inserted, *rows[table].values()) == 0, table
    assert state(TABLES, acme) == before
    assert state(TABLES, rival) == own


@pytest.mark.usefixtures("full")
def test_chunks_are_refused_by_their_own_names(acme: Fleet) -> None:
    with connection.cursor() as cursor:
        cursor.execute(CHUNKS)
        chunks = [name for (name,) in cursor.fetchall()]
        assert len(chunks) >= 3
        with scope_of(acme):
            for name in (*chunks, *unscoped()):
                refused = pytest.raises(ProgrammingError, match="permission denied")
                with refused, transaction.atomic():
                    cursor.execute(f"SELECT count(*) FROM {name}")


@pytest.mark.django_db(transaction=True)
def test_the_role_that_serves_sees_nothing_without_a_scope(acme: Fleet, rival: Fleet) -> None:
    for fleet in (acme, rival):
        for table in TABLES:
            row_ensure(table, fleet)
    name = connection.settings_dict["NAME"]
    with psycopg.connect(endpoints.web_url, dbname=name, autocommit=True) as served:
        assert served.execute("SELECT current_user").fetchone() == ("rollcall_web",)
        for table in SEEN:
            assert served.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        with connection.cursor() as cursor:
            cursor.execute("SELECT show_chunks('telemetry_reading')::text")
            (chunk,) = cursor.fetchone()
        for name in (chunk, *unscoped()):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                served.execute(f"SELECT count(*) FROM {name}")
        for role in ("rollcall_worker", "rollcall_owner"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                served.execute(f"SET ROLE {role}")
        with served.transaction():
            served.execute(
                "SELECT set_config('role', 'rollcall_tenant', true), "
                "set_config('app.tenant_ids', %s, true)",
                [f"{{{acme.tenant.pk}}}"],
            )
            ids = served.execute("SELECT id FROM devices_tenant").fetchall()
            assert ids == [(acme.tenant.pk,)]
        # The connection keeps no setting.
        assert served.execute("SELECT count(*) FROM devices_tenant").fetchone() == (0,)


def test_a_scope_ends_where_it_ends(acme: Fleet, rival: Fleet) -> None:
    with tenant_scope(tenant_ids=[acme.tenant.pk, rival.tenant.pk]):
        with scope_of(rival):
            assert count("devices_device", acme) == 0
        assert count("devices_device", acme) == 1
        with pytest.raises(ZeroDivisionError), scope_of(rival):
            raise ZeroDivisionError
        assert count("devices_device", acme) == 1
    assert count("devices_device", rival) == 1
    row_insert("devices_site", {**row_for("devices_site", acme), "name": "elsewhere"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of_operator", [False, True])
def test_a_scope_to_read_in_refuses_to_write(acme: Fleet, of_operator: bool) -> None:
    access = Access(of_operator, {acme.tenant.pk: Membership.Role.OWNER}, acme.manager.pk)
    with access_scope(access, reads=True):
        assert Tenant.objects.filter(pk=acme.tenant.pk).exists()
    with pytest.raises(InternalError, match="read-only"), access_scope(access, reads=True):
        Tenant.objects.filter(pk=acme.tenant.pk).update(name="written")
    with access_scope(access):
        assert Tenant.objects.filter(pk=acme.tenant.pk).update(name="written") == 1


def test_a_scope_to_read_in_refuses_to_write_inside_a_transaction_too(acme: Fleet) -> None:
    own = [acme.tenant.pk]
    with tenant_scope(tenant_ids=own):
        with (
            pytest.raises(InternalError, match="read-only"),
            tenant_scope(tenant_ids=own, reads=True),
        ):
            Tenant.objects.update(name="written")
        with tenant_scope(tenant_ids=own, reads=True):
            assert Tenant.objects.exists()
        assert Tenant.objects.update(name="written") == 1


SHOWN = """
SELECT current_setting('role'), current_setting('search_path'),
       coalesce(current_setting('app.tenant_ids', true), ''),
       current_setting('statement_timeout'), current_setting('work_mem'),
       current_setting('transaction_read_only')
"""


def shown() -> tuple[str, ...]:
    with connection.cursor() as cursor:
        cursor.execute(SHOWN)
        found: tuple[str, ...] = cursor.fetchone()
        return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_inside", [False, True])
def test_the_settings_of_a_scope_hold_as_long_as_it_does(acme: Fleet, is_inside: bool) -> None:
    with transaction.atomic() if is_inside else nullcontext():
        before, own = shown(), f"{{{acme.tenant.pk}}}"
        more = {"statement_timeout": "7s", "work_mem": "5MB"}
        with tenant_scope(tenant_ids=[acme.tenant.pk], settings=more, reads=True):
            assert shown() == ("rollcall_tenant", "scoped,public", own, "7s", "5MB", "on")
        with scope_of(acme):
            assert shown() == (*("rollcall_tenant", "scoped,public", own), "1min", before[4], "off")
        assert shown() == before


@pytest.mark.django_db(transaction=True)
def test_a_scope_is_one_statement(acme: Fleet) -> None:
    with CaptureQueriesContext(connection) as asked, tenant_scope(tenant_ids=[], reads=True):
        pass
    assert [one["sql"].partition(" ")[0] for one in asked] == ["BEGIN", "SELECT", "COMMIT"]


@pytest.mark.django_db(transaction=True)
def test_a_scope_says_so_when_the_server_is_gone_without_a_word() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
    try:
        with pytest.raises(OperationalError), tenant_scope(tenant_ids=[]):
            Tenant.objects.exists()
            pytest.fail("it was opened")
    finally:
        connection.close()


def test_a_scope_is_not_widened_from_inside(acme: Fleet, rival: Fleet) -> None:
    with scope_of(rival):
        with pytest.raises(ScopeError), scope_of(acme):
            pytest.fail("it was widened")
        with pytest.raises(ScopeError), operator_scope(user_id=rival.manager.pk):
            pytest.fail("it was widened")
