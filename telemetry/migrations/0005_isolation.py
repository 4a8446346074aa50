"""The latest status by a policy; history through views of the same names in `scoped`."""

from django.db import migrations

ISOLATE = """
SELECT rollcall_isolate('telemetry_devicestatus');
SELECT rollcall_scope_view('telemetry_heartbeat');
SELECT rollcall_scope_view('telemetry_reading');
SELECT rollcall_scope_view('telemetry_presenceevent');
"""
ISOLATE_BACK = """
SELECT rollcall_scope_view_back('telemetry_presenceevent');
SELECT rollcall_scope_view_back('telemetry_reading');
SELECT rollcall_scope_view_back('telemetry_heartbeat');
SELECT rollcall_isolate_back('telemetry_devicestatus');
"""

# People pause and resume devices, and each is an event.
EVENTS = """
GRANT INSERT ON scoped.telemetry_presenceevent TO rollcall_tenant;
GRANT INSERT ON telemetry_presenceevent TO rollcall_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON telemetry_presencesweep TO rollcall_worker;
GRANT SELECT ON telemetry_presencesweep TO rollcall_tenant, rollcall_operator, rollcall_web;
"""
EVENTS_BACK = """
REVOKE ALL ON telemetry_presencesweep
    FROM rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
REVOKE INSERT ON telemetry_presenceevent FROM rollcall_operator;
REVOKE INSERT ON scoped.telemetry_presenceevent FROM rollcall_tenant;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0004_reading_storage"), ("devices", "0006_isolation"))

    operations = (
        migrations.RunSQL(ISOLATE, ISOLATE_BACK),
        migrations.RunSQL(EVENTS, EVENTS_BACK),
    )
