"""Tables that hold rows of tenants, found from the catalog, and rows for each of them."""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connection
from django.db.models import Model

from tests.conftest import Fleet

# Every table with a tenant column, partitions and chunks aside, and the tenants' own.
TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r' AND (
    c.relname IN ('devices_tenant', 'devices_tenantevent') OR EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    )
)
ORDER BY 1
"""
# Values for columns that a row needs.
NEEDED = """
SELECT column_name, data_type, character_maximum_length FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_nullable = 'NO'
  AND column_default IS NULL AND is_identity = 'NO'
"""
BY_TYPE: dict[str, str] = {
    "timestamp with time zone": "2026-06-01T12:00:00Z",
    "boolean": "false",
    "jsonb": "{}",
}


# Tables whose rows name their tenant by its own id.
OF_TENANTS = ("devices_tenant", "devices_tenantevent")


class Column(NamedTuple):
    name: str
    type: str
    length: int | None


def tenant_models() -> list[type[Model]]:
    """Every model with a table whose rows belong to a tenant."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
        and (
            model._meta.db_table in OF_TENANTS
            or any(one.column == "tenant_id" for one in model._meta.local_fields)
        )
    ]


def tenant_tables() -> list[str]:
    """The same, as the database knows them."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        return [name for (name,) in cursor.fetchall()]


def tenant_column(table: str) -> str:
    return "id" if table in OF_TENANTS else "tenant_id"


def row_for(table: str, fleet: Fleet) -> dict[str, Any]:
    """A row of the fleet's tenant that the table would accept."""
    with connection.cursor() as cursor:
        cursor.execute(NEEDED, [table])
        columns = [Column(*one) for one in cursor.fetchall()]
    row = {one.name: _value(one, fleet) for one in columns}
    return {**row, "id": fleet.tenant.pk} if table == "devices_tenantevent" else row


def row_ensure(table: str, fleet: Fleet) -> None:
    """A row of the fleet's tenant, unless the table has one."""
    if not count(table, fleet):
        row_insert(table, row_for(table, fleet))


def row_insert(table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    places = ", ".join(["%s"] * len(row))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(row.values()))


def count(table: str, fleet: Fleet) -> int:
    """How many rows of the fleet's tenant the connection's role sees at this moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {table} WHERE {tenant_column(table)} = %s", [fleet.tenant.pk]
        )
        return int(cursor.fetchone()[0])


def state(tables: Sequence[str], fleet: Fleet) -> dict[str, str | None]:
    """A digest of the fleet's rows in each table."""
    digests = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t "
                f"WHERE {tenant_column(table)} = %s",
                [fleet.tenant.pk],
            )
            digests[table] = cursor.fetchone()[0]
    return digests


def _value(column: Column, fleet: Fleet) -> Any:
    known = {
        "tenant_id": fleet.tenant.pk,
        "device_id": fleet.device.pk,
        "site_id": fleet.site.pk,
        "user_id": fleet.manager.pk,
    }
    if column.name in known and column.type == "integer":
        return known[column.name]
    if column.type in BY_TYPE:
        return BY_TYPE[column.type]
    if column.type in ("integer", "smallint", "bigint", "double precision"):
        return 1
    if column.type == "bytea":
        return secrets.token_bytes(32)
    return secrets.token_hex(16)[: column.length or 32]


def hypertables() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT hypertable_name FROM timescaledb_information.hypertables")
        return {name for (name,) in cursor.fetchall()}


def is_community() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('timescaledb.license')")
        return bool(cursor.fetchone() == ("timescale",))


def compress(table: str) -> int:
    """Turns the columnstore on and moves all of the hypertable's chunks into it; their number."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {table} SET (timescaledb.compress, "
            "timescaledb.compress_segmentby = 'device_id')"
        )
        cursor.execute("SELECT compress_chunk(c) FROM show_chunks(%s::regclass) c", [table])
        return len(cursor.fetchall())
