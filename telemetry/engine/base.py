"""The database engine: django-timescaledb's, with primary keys kept where they may be, and
pooled connections looked at before they are used.

A hypertable's unique constraints must contain its time column. django-timescaledb therefore drops
every primary key; but a composite key with the time column in it is fine, and Rollcall needs it
for upserts and `get(pk=…)`.
"""

import select
from typing import Any

from django.db.models import Model
from psycopg import Connection
from timescale.db.backends.postgresql import base, schema
from timescale.db.models.fields import TimescaleDateTimeField


class SchemaEditor(schema.TimescaleSchemaEditor):
    def _drop_primary_key(self, model: type[Model]) -> None:
        if not _key_has_time(model):
            super()._drop_primary_key(model)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = SchemaEditor

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


def _has_news(connection: "Connection[Any]") -> bool:
    """True if the server has said something that nobody asked for: that it goes away, mostly."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _key_has_time(model: type[Model]) -> bool:
    return any(isinstance(field, TimescaleDateTimeField) for field in model._meta.pk_fields)
