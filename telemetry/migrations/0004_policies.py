"""Who may see and change the ordinary tables. For the hypertables, see 0005_scoped_views."""

from django.db import migrations

STATUS = "SELECT rollcall_isolate('telemetry_devicestatus')"
STATUS_BACK = "SELECT rollcall_isolate_back('telemetry_devicestatus')"

# Sweeps and breaks are the same for all tenants. The worker records them; pages and `/health` show
# when the last sweep was.
LISTENING = """
GRANT SELECT, INSERT, UPDATE, DELETE ON telemetry_presencesweep TO rollcall_worker;
GRANT SELECT ON telemetry_presencesweep TO rollcall_tenant, rollcall_operator, rollcall_web;
GRANT SELECT, INSERT, DELETE ON telemetry_presencebreak TO rollcall_worker;
"""
LISTENING_BACK = """
REVOKE ALL ON telemetry_presencebreak FROM rollcall_worker;
REVOKE ALL ON telemetry_presencesweep
    FROM rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0003_storage"), ("devices", "0002_roles"))

    operations = (
        migrations.RunSQL(STATUS, STATUS_BACK),
        migrations.RunSQL(LISTENING, LISTENING_BACK),
    )
