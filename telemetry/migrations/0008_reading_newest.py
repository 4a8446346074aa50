"""The readings of a device in order, within a scope: what a page of them is cut from.

A view with a security barrier keeps LIMIT outside, so that all of a period is read and sorted for
each page of it; but the order that a view has itself is known outside. `telemetry_reading_newest`
therefore is `telemetry_reading` in the order of its key, the newest first, in the scopes of both
kinds. It is for the readings of one device: those of many would be sorted.
"""

from django.db import migrations

ORDERED = "ORDER BY device_id, time DESC, msg_type DESC"

CREATE = f"""
CREATE VIEW scoped.telemetry_reading_newest WITH (security_barrier) AS
SELECT * FROM public.telemetry_reading
WHERE tenant_id = ANY ((SELECT rollcall_tenant_ids())::integer[]) {ORDERED};
CREATE VIEW public.telemetry_reading_newest AS
SELECT * FROM public.telemetry_reading {ORDERED};
GRANT SELECT ON scoped.telemetry_reading_newest TO rollcall_tenant, rollcall_web;
GRANT SELECT ON public.telemetry_reading_newest TO rollcall_operator;
"""
DROP = """
DROP VIEW public.telemetry_reading_newest;
DROP VIEW scoped.telemetry_reading_newest;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0007_never_heard_from"),)

    operations = (migrations.RunSQL(CREATE, DROP),)
