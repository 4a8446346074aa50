"""Who may see the ledger, and rejected and refused messages."""

from django.db import migrations

TENANTS = """
SELECT rollcall_isolate('ingest_ledgerminute');
SELECT rollcall_isolate('ingest_rejectedmessage');
SELECT rollcall_isolate('ingest_limitbreach');
"""
TENANTS_BACK = """
SELECT rollcall_isolate_back('ingest_limitbreach');
SELECT rollcall_isolate_back('ingest_rejectedmessage');
SELECT rollcall_isolate_back('ingest_ledgerminute');
"""

# The worker's own records, across all tenants. The ledger and `/health` need the result of the last
# check and which shards were ever drained, but not the positions.
BOOKS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest_drainposition TO rollcall_worker;
GRANT SELECT ON ingest_drainposition TO rollcall_operator;
GRANT SELECT (shard) ON ingest_drainposition TO rollcall_tenant, rollcall_web;
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest_ledgercheck TO rollcall_worker;
GRANT SELECT ON ingest_ledgercheck TO rollcall_tenant, rollcall_operator, rollcall_web;
"""
BOOKS_BACK = """
REVOKE ALL ON ingest_ledgercheck
    FROM rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
REVOKE SELECT (shard) ON ingest_drainposition FROM rollcall_tenant, rollcall_web;
REVOKE ALL ON ingest_drainposition FROM rollcall_worker, rollcall_operator;
"""


class Migration(migrations.Migration):
    dependencies = (("ingest", "0001_tables"), ("devices", "0002_roles"))

    operations = (
        migrations.RunSQL(TENANTS, TENANTS_BACK),
        migrations.RunSQL(BOOKS, BOOKS_BACK),
    )
