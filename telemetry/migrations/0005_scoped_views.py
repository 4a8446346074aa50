"""Within a scope, hypertables are read through views in the schema `scoped`."""

from django.db import migrations

VIEWS = """
SELECT rollcall_scope_view('telemetry_heartbeat');
SELECT rollcall_scope_view('telemetry_reading');
SELECT rollcall_scope_view('telemetry_presenceevent');
"""
VIEWS_BACK = """
SELECT rollcall_scope_view_back('telemetry_presenceevent');
SELECT rollcall_scope_view_back('telemetry_reading');
SELECT rollcall_scope_view_back('telemetry_heartbeat');
"""

# Pausing or resuming a device writes an event.
EVENTS = """
GRANT INSERT ON scoped.telemetry_presenceevent TO rollcall_tenant;
GRANT INSERT ON telemetry_presenceevent TO rollcall_operator;
"""
EVENTS_BACK = """
REVOKE INSERT ON telemetry_presenceevent FROM rollcall_operator;
REVOKE INSERT ON scoped.telemetry_presenceevent FROM rollcall_tenant;
"""

# For pages of a device's readings, newest first. LIMIT is not pushed into a view with a security
# barrier, so each page would read and sort the whole period; but PostgreSQL uses the order of a view
# that is itself sorted. So `telemetry_reading_newest` is `telemetry_reading` in the order of its
# key, for both kinds of scope. Use it for one device only: for several, the readings would be sorted.
ORDERED = "ORDER BY device_id, time DESC, msg_type DESC"
NEWEST = f"""
CREATE VIEW scoped.telemetry_reading_newest WITH (security_barrier) AS
SELECT * FROM public.telemetry_reading
WHERE tenant_id = ANY ((SELECT rollcall_tenant_ids())::integer[]) {ORDERED};
CREATE VIEW public.telemetry_reading_newest AS
SELECT * FROM public.telemetry_reading {ORDERED};
GRANT SELECT ON scoped.telemetry_reading_newest TO rollcall_tenant, rollcall_web;
GRANT SELECT ON public.telemetry_reading_newest TO rollcall_operator;
"""
# The same for a device's transitions: its whole history would be sorted for its time line. These are
# read chunk by chunk, in the order of the key.
TRANSITIONS_ORDERED = "ORDER BY time DESC, state DESC"
TRANSITIONS_NEWEST = f"""
CREATE VIEW scoped.telemetry_presenceevent_newest WITH (security_barrier) AS
SELECT * FROM public.telemetry_presenceevent
WHERE tenant_id = ANY ((SELECT rollcall_tenant_ids())::integer[]) {TRANSITIONS_ORDERED};
CREATE VIEW public.telemetry_presenceevent_newest AS
SELECT * FROM public.telemetry_presenceevent {TRANSITIONS_ORDERED};
GRANT SELECT ON scoped.telemetry_presenceevent_newest TO rollcall_tenant, rollcall_web;
GRANT SELECT ON public.telemetry_presenceevent_newest TO rollcall_operator;
"""
TRANSITIONS_NEWEST_BACK = """
DROP VIEW public.telemetry_presenceevent_newest;
DROP VIEW scoped.telemetry_presenceevent_newest;
"""
NEWEST_BACK = """
DROP VIEW public.telemetry_reading_newest;
DROP VIEW scoped.telemetry_reading_newest;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0004_policies"),)

    operations = (
        migrations.RunSQL(VIEWS, VIEWS_BACK),
        migrations.RunSQL(EVENTS, EVENTS_BACK),
        migrations.RunSQL(NEWEST, NEWEST_BACK),
        migrations.RunSQL(TRANSITIONS_NEWEST, TRANSITIONS_NEWEST_BACK),
    )
