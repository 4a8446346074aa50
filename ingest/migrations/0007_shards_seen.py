"""Whoever reads the ledger or `/health` knows which shards were ever drained."""

from django.db import migrations

GRANT = "GRANT SELECT (shard) ON ingest_drainposition TO rollcall_tenant, rollcall_web"
GRANT_BACK = "REVOKE SELECT (shard) ON ingest_drainposition FROM rollcall_tenant, rollcall_web"


class Migration(migrations.Migration):
    dependencies = (("ingest", "0006_replays_that_failed"),)

    operations = (migrations.RunSQL(GRANT, GRANT_BACK),)
