"""Tenants read what was refused of them; only the worker writes it."""

from django.db import migrations

# Whoever deletes a device deletes its refusals.
READ = "REVOKE INSERT, UPDATE ON ingest_refusal FROM rollcall_tenant, rollcall_web"
READ_BACK = "GRANT INSERT, UPDATE ON ingest_refusal TO rollcall_tenant, rollcall_web"


class Migration(migrations.Migration):
    dependencies = (("ingest", "0005_refusals"),)

    operations = (migrations.RunSQL(READ, READ_BACK),)
