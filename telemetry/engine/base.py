"""The database engine: django-timescaledb's, with primary keys kept where they may be, pooled
connections looked at before they are used, statements sent ahead of those that need them, and
statements of any number of parameters.

A hypertable's unique constraints must contain its time column. django-timescaledb therefore drops
every primary key; but a composite key with the time column in it is fine, and Rollcall needs it
for upserts and `get(pk=…)`.
"""

import select
from contextlib import suppress
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db.models import Model
from psycopg import ClientCursor, Connection, Error, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from timescale.db.backends.postgresql import base, schema
from timescale.db.models.fields import TimescaleDateTimeField

LONG = 1000


class SchemaEditor(schema.TimescaleSchemaEditor):
    def _drop_primary_key(self, model: type[Model]) -> None:
        if not _key_has_time(model):
            super()._drop_primary_key(model)


class Cursor(psycopg.Cursor[Any]):
    """Binds parameters on the server, which can then keep a plan.

    Not of long lists: whether a few rows are wanted or thousands, makes another plan. Of parameters
    the server takes 65,535 at most; very many are bound here.
    """

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":
        if params and len(params) > LONG:
            with ClientCursor(self.connection) as client:
                query, params = client.mogrify(query, params), None
            options["prepare"] = False
        elif params and _has_long(params):
            options["prepare"] = False
        return super().execute(query, params, **options)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = SchemaEditor

    _is_ahead = False
    _only_reads = False
    # What the driver's is to be, which it sets on an idle connection only.
    _autocommit_then: bool | None = None

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": Cursor}

    def begin_ahead(self, statements: bytes, *, reads: bool = False) -> None:
        """Begins the transaction of the atomic block that was just entered with these statements,
        without waiting; the driver would begin it in a round trip of its own.

        With `reads` it refuses to write. So nothing is lost with it, and its end is not waited for.
        """
        self.send_ahead((b"BEGIN READ ONLY; " if reads else b"BEGIN; ") + statements)
        self._only_reads = reads

    def send_ahead(self, statements: bytes) -> None:
        """Sends statements and does not wait: the server is at them while the next is prepared.

        Whatever comes next, a cursor or the end of the transaction, waits for them, and raises
        what they have done wrong.
        """
        self._settle()
        with self.wrap_database_errors, self.connection.lock:
            self.connection.pgconn.send_query(statements)
        self._is_ahead = True

    def create_cursor(self, name: str | None = None) -> Any:
        self._settle()
        return super().create_cursor(name)

    def _commit(self) -> None:
        self._settle()
        if self._only_reads:
            self._only_reads = False
            self.send_ahead(b"COMMIT")
        else:
            super()._commit()

    def _rollback(self) -> None:
        self._only_reads = False
        self._settle()
        super()._rollback()

    def _set_autocommit(self, autocommit: bool) -> None:
        if self._is_ahead:
            self._autocommit_then = autocommit
        else:
            super()._set_autocommit(autocommit)

    def _close(self) -> None:
        # Whom an error would be for has gone; what became of the connection, the pool sees.
        with suppress(DatabaseError):
            self._settle()
        self._only_reads = False
        super()._close()

    def _settle(self) -> None:
        """Takes the results of what was sent ahead. Raises Django's database errors."""
        if not self._is_ahead:
            return
        self._is_ahead = False
        try:
            with self.wrap_database_errors, self.connection.lock:
                _results_take(self.connection.pgconn)
        except Exception:
            # What was to be done after them must not be done without them.
            self.needs_rollback = self.in_atomic_block
            with suppress(DatabaseError):  # the driver's, if the connection is gone
                self._autocommit_settle()
            raise
        self._autocommit_settle()

    def _autocommit_settle(self) -> None:
        autocommit, self._autocommit_then = self._autocommit_then, None
        if autocommit is not None:
            super()._set_autocommit(autocommit)

    def get_new_connection(self, conn_params: dict[str, Any]) -> "Connection[Any]":
        """One that the server has not closed meanwhile.

        Django's own check (CONN_HEALTH_CHECKS) asks the server before each use, which takes as
        long as a query. That a connection was closed, its socket knows.
        """
        connection: Connection[Any] = super().get_new_connection(conn_params)
        while self.pool and _has_news(connection):
            connection.close()
            self.pool.putconn(connection)  # which gets another one in its place
            connection = super().get_new_connection(conn_params)
        return connection


def _has_long(params: Any) -> bool:
    """True if one is a long list, or one written as text."""
    values = params.values() if isinstance(params, dict) else params
    return any(isinstance(one, str | list) and len(one) > LONG for one in values)


def _results_take(pgconn: PGconn) -> None:
    """Waits for all results of what was sent. Raises the error of the first that has one."""
    failed: PGresult | None = None
    while (result := _next_result(pgconn)) is not None:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            failed = failed or result
    if failed is not None:
        raise _error_of(failed, pgconn)


def _next_result(pgconn: PGconn) -> PGresult | None:
    """With poll, which lets other threads run, and not by waiting in libpq."""
    while pgconn.is_busy():
        is_unsent = pgconn.flush()
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if is_unsent else 0))
        poll.poll()
        pgconn.consume_input()
    return pgconn.get_result()


def _error_of(result: PGresult, pgconn: PGconn) -> Error:
    """What the driver would raise: of a server that went without a word the result says nothing."""
    if pgconn.status == ConnStatus.BAD and not result.error_field(DiagnosticField.SQLSTATE):
        return OperationalError(result.get_error_message())
    return error_from_result(result)


def _has_news(connection: "Connection[Any]") -> bool:
    """True if the server has said something that nobody asked for: that it goes away, mostly."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _key_has_time(model: type[Model]) -> bool:
    return any(isinstance(field, TimescaleDateTimeField) for field in model._meta.pk_fields)
