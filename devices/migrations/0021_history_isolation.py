"""The history is appended to by triggers alone, and each tenant sees its own."""

from django.db import migrations

# As rollcall_isolate, for events: a row comes from a trigger that runs for who makes the change,
# which nobody can do by hand, and only the owner may change or remove one.
FUNCTIONS = """
CREATE FUNCTION rollcall_isolate_history(target regclass, tenant_column text DEFAULT 'tenant_id')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    own text := format('%I = ANY ((SELECT rollcall_tenant_ids())::integer[])', tenant_column);
    by_trigger text := 'pg_trigger_depth() > 0';
    everybody text := 'rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker';
    role text;
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY owner ON %s TO %I USING (true)', target, current_user);
    FOREACH role IN ARRAY ARRAY['operator', 'worker'] LOOP
        EXECUTE format('CREATE POLICY %I ON %s FOR SELECT TO %I USING (true)',
                       role || '_reads', target, 'rollcall_' || role);
        EXECUTE format('CREATE POLICY %I ON %s FOR INSERT TO %I WITH CHECK (%s)',
                       role || '_appends', target, 'rollcall_' || role, by_trigger);
    END LOOP;
    EXECUTE format('CREATE POLICY tenant_reads ON %s FOR SELECT TO rollcall_tenant USING (%s)',
                   target, own);
    EXECUTE format('CREATE POLICY tenant_appends ON %s FOR INSERT TO rollcall_tenant '
                   'WITH CHECK (%s AND %s)', target, own, by_trigger);
    EXECUTE format('GRANT SELECT, INSERT ON %s TO %s', target, everybody);
END $$;
"""
FUNCTIONS_BACK = "DROP FUNCTION rollcall_isolate_history(regclass, text);"

ISOLATE = """
SELECT rollcall_isolate_history('devices_tenantevent', 'id');
SELECT rollcall_isolate_history('devices_membershipevent');
SELECT rollcall_isolate_history('devices_siteevent');
SELECT rollcall_isolate_history('devices_deviceevent');
SELECT rollcall_isolate_history('devices_credentialevent');
"""
ISOLATE_BACK = """
SELECT rollcall_isolate_back('devices_credentialevent');
SELECT rollcall_isolate_back('devices_deviceevent');
SELECT rollcall_isolate_back('devices_siteevent');
SELECT rollcall_isolate_back('devices_membershipevent');
SELECT rollcall_isolate_back('devices_tenantevent');
"""

# What is there already, so that its first change can say what was before. The columns of an event
# are those of its table, by name, except for those that are kept out of the history.
KNOWN = """
DO $$
DECLARE
    model text;
    names text;
BEGIN
    FOREACH model IN ARRAY ARRAY['tenant', 'membership', 'site', 'device', 'credential'] LOOP
        SELECT string_agg(quote_ident(event.attname), ', ') INTO names
        FROM pg_attribute event JOIN pg_attribute own USING (attname)
        WHERE event.attrelid = ('devices_' || model || 'event')::regclass AND event.attnum > 0
          AND own.attrelid = ('devices_' || model)::regclass AND own.attnum > 0
          AND NOT event.attisdropped AND NOT own.attisdropped;
        EXECUTE format('INSERT INTO %I (pgh_created_at, pgh_label, pgh_obj_id, %s) '
                       'SELECT now(), ''known'', id, %s FROM %I',
                       'devices_' || model || 'event', names, names, 'devices_' || model);
    END LOOP;
END $$;
"""

# One list of all; who asks sees through it what they see of the events themselves.
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
FROM devices_tenantevent event;

GRANT SELECT ON devices_history
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""
VIEW_BACK = """
DROP VIEW devices_history;
DROP FUNCTION devices_history_who(jsonb);
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0020_history"),)

    operations = (
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_BACK),
        migrations.RunSQL(ISOLATE, ISOLATE_BACK),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RunSQL(VIEW, VIEW_BACK),
    )
