"""Tenants read what was refused of their devices; only the worker writes it."""

from django.db import migrations

# Rows go with their device, by a foreign key.
READ = """
REVOKE INSERT, UPDATE, DELETE ON telemetry_lastrefusal FROM rollcall_tenant, rollcall_web;
"""
READ_BACK = """
GRANT INSERT, UPDATE, DELETE ON telemetry_lastrefusal TO rollcall_tenant, rollcall_web;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0007_refused"),)

    operations = (migrations.RunSQL(READ, READ_BACK),)
