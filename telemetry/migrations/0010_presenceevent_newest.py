"""The transitions of a device in order, within a scope: what its time line is cut from.

As of readings (0008): a view with a security barrier keeps LIMIT outside, so that the whole past of
a flapping device was read and sorted for its latest transitions. This view is in order
itself, the newest first, in the scopes of both kinds: chunk by chunk, in the order of the table's
key. It is for the transitions of one device; those of many would be sorted.
"""

from django.db import migrations

ORDERED = "ORDER BY time DESC, state DESC"

CREATE = f"""
CREATE VIEW scoped.telemetry_presenceevent_newest WITH (security_barrier) AS
SELECT * FROM public.telemetry_presenceevent
WHERE tenant_id = ANY ((SELECT rollcall_tenant_ids())::integer[]) {ORDERED};
CREATE VIEW public.telemetry_presenceevent_newest AS
SELECT * FROM public.telemetry_presenceevent {ORDERED};
GRANT SELECT ON scoped.telemetry_presenceevent_newest TO rollcall_tenant, rollcall_web;
GRANT SELECT ON public.telemetry_presenceevent_newest TO rollcall_operator;
"""
DROP = """
DROP VIEW public.telemetry_presenceevent_newest;
DROP VIEW scoped.telemetry_presenceevent_newest;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0009_presence_breaks"),)

    operations = (migrations.RunSQL(CREATE, DROP),)
