"""Lets each tenant see its own history as one list."""

from django.db import migrations

POLICIES = """
SELECT rollcall_isolate_history('devices_tenantevent', 'id');
SELECT rollcall_isolate_history('devices_membershipevent');
SELECT rollcall_isolate_history('devices_invitationevent');
SELECT rollcall_isolate_history('devices_siteevent');
SELECT rollcall_isolate_history('devices_devicegroupevent');
SELECT rollcall_isolate_history('devices_deviceevent');
SELECT rollcall_isolate_history('devices_credentialevent');
"""
POLICIES_BACK = """
SELECT rollcall_isolate_back('devices_credentialevent');
SELECT rollcall_isolate_back('devices_deviceevent');
SELECT rollcall_isolate_back('devices_devicegroupevent');
SELECT rollcall_isolate_back('devices_siteevent');
SELECT rollcall_isolate_back('devices_invitationevent');
SELECT rollcall_isolate_back('devices_membershipevent');
SELECT rollcall_isolate_back('devices_tenantevent');
"""

# One list of the events for all models. It runs with the rights of the querying role
# (security_invoker), and so shows only the events that the role can see.
VIEW = """
CREATE FUNCTION devices_history_who(origin jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(origin ->> 'username', 'token ' || (origin ->> 'token'),
                    'command ' || (origin ->> 'command'), 'task ' || (origin ->> 'task'),
                    CASE WHEN origin ? 'path' THEN 'a device' ELSE '' END, '')
$$;

CREATE VIEW devices_history WITH (security_invoker) AS
SELECT 'device-' || pgh_id AS id, 'device' AS subject, pgh_id AS number, pgh_obj_id AS object_id,
       device_id::text AS object_name, id AS of_device, tenant_id, pgh_label AS change,
       pgh_created_at AS at, devices_history_who(pgh_context) AS who, pgh_context AS origin,
       to_jsonb(event) AS data
FROM devices_deviceevent event
UNION ALL
SELECT 'key-' || pgh_id, 'key', pgh_id, pgh_obj_id, 'rc_' || prefix || '_…', device_id, tenant_id,
       pgh_label, pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_credentialevent event
UNION ALL
SELECT 'site-' || pgh_id, 'site', pgh_id, pgh_obj_id, name::text, NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_siteevent event
UNION ALL
SELECT 'member-' || pgh_id, 'member', pgh_id, pgh_obj_id,
       coalesce(person.username::text, 'person ' || event.user_id), NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_membershipevent event LEFT JOIN auth_user person ON person.id = event.user_id
UNION ALL
SELECT 'tenant-' || pgh_id, 'tenant', pgh_id, pgh_obj_id, name::text, NULL, id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_tenantevent event
UNION ALL
SELECT 'group-' || pgh_id, 'group', pgh_id, pgh_obj_id, name::text, NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_devicegroupevent event
UNION ALL
SELECT 'invitation-' || pgh_id, 'invitation', pgh_id, pgh_obj_id, email::text, NULL, tenant_id,
       pgh_label, pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_invitationevent event;

GRANT SELECT ON devices_history
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""
VIEW_BACK = """
DROP VIEW devices_history;
DROP FUNCTION devices_history_who(jsonb);
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0005_history"),)

    operations = (
        migrations.RunSQL(POLICIES, POLICIES_BACK),
        migrations.RunSQL(VIEW, VIEW_BACK),
    )
