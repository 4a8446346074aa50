"""The database engine: django-timescaledb's, but it keeps primary keys where TimescaleDB allows
them, checks pooled connections before use, and accepts statements with any number of parameters.

A hypertable's unique constraints must contain its time column, so django-timescaledb drops every
primary key. A composite key that contains the time column is fine, and Rollcall needs it for
upserts and `get(pk=…)`.
"""

import select
from typing import Any

import psycopg
from django.db.models import Model
from psycopg import ClientCursor, Connection
from timescale.db.backends.postgresql import base, schema
from timescale.db.models.fields import TimescaleDateTimeField

LONG = 1000


class SchemaEditor(schema.TimescaleSchemaEditor):
    def _drop_primary_key(self, model: type[Model]) -> None:
        if not any(isinstance(one, TimescaleDateTimeField) for one in model._meta.pk_fields):
            super()._drop_primary_key(model)


class Cursor(psycopg.Cursor[Any]):
    """Binds parameters on the server, which can then reuse a plan.

    A statement with a long list is not prepared: a few rows and thousands need different plans. The
    server accepts at most 65,535 parameters, so more than LONG of them are bound on the client.
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

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": Cursor}

    def get_new_connection(self, conn_params: dict[str, Any]) -> "Connection[Any]":
        """A connection that the server has not closed in the meantime.

        Django's own check (CONN_HEALTH_CHECKS) asks the server before each use, which takes as
        long as a query. The socket shows a closed connection without asking.
        """
        connection: Connection[Any] = super().get_new_connection(conn_params)
        while self.pool and _has_news(connection):
            connection.close()
            self.pool.putconn(connection)  # the pool replaces it
            connection = super().get_new_connection(conn_params)
        return connection


def _has_long(params: Any) -> bool:
    """True if a parameter is a long list, or a long list written as text."""
    values = params.values() if isinstance(params, dict) else params
    return any(isinstance(one, str | list) and len(one) > LONG for one in values)


def _has_news(connection: "Connection[Any]") -> bool:
    """True if the server sent something unprompted, usually that it is closing the connection."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
