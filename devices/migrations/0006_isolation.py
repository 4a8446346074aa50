"""The database keeps tenants apart: roles, policies, and the functions that set them up.

Four roles. `rollcall_web` is what processes that serve people and devices log in as: it may take
on the two scopes, and sees no tenant's row without one. `rollcall_tenant` sees the rows of the
tenants in app.tenant_ids, `rollcall_operator` those of all; nobody logs in as either.
`rollcall_worker` stores and sweeps for all tenants. Roles belong to the server and not to a
database, so they may be there already, made by whoever set the server up, with passwords.
"""

from django.db import migrations

ROLES = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['rollcall_tenant', 'rollcall_operator', 'rollcall_web',
                                'rollcall_worker'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOINHERIT', name);
                IF name = 'rollcall_web' THEN
                    ALTER ROLE rollcall_web SET search_path = scoped, public;
                END IF;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- another database of this server is being migrated at the same moment
        END;
    END LOOP;
    FOREACH name IN ARRAY ARRAY['rollcall_web', 'rollcall_worker', current_user] LOOP
        IF NOT pg_has_role(name, 'rollcall_tenant', 'SET') THEN
            EXECUTE format('GRANT rollcall_tenant TO %I WITH INHERIT FALSE, SET TRUE', name);
        END IF;
        IF NOT pg_has_role(name, 'rollcall_operator', 'SET') THEN
            EXECUTE format('GRANT rollcall_operator TO %I WITH INHERIT FALSE, SET TRUE', name);
        END IF;
    END LOOP;
END $$;
CREATE SCHEMA IF NOT EXISTS scoped;
GRANT USAGE ON SCHEMA public
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
GRANT USAGE ON SCHEMA scoped TO rollcall_tenant, rollcall_web;
"""
ROLES_BACK = """
REVOKE USAGE ON SCHEMA public
    FROM rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
DROP SCHEMA scoped CASCADE;
"""

# Called in a sub-select, so that it is asked once a query and not once a row. A setting that was
# there in an earlier transaction is the empty text afterwards.
FUNCTIONS = """
CREATE FUNCTION rollcall_tenant_ids() RETURNS integer[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('app.tenant_ids', true), '')::integer[]
$$;

CREATE FUNCTION rollcall_user_id() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('app.user_id', true), '')::integer
$$;

-- For an ordinary table: rows of the scope's tenants to rollcall_tenant, all to those who work for
-- all, none to rollcall_web, which may ask without a scope and is shown nothing.
CREATE FUNCTION rollcall_isolate(target regclass, tenant_column text DEFAULT 'tenant_id')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    everybody text := 'rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker';
    own text := format('%I = ANY ((SELECT rollcall_tenant_ids())::integer[])', tenant_column);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY owner ON %s TO %I USING (true)', target, current_user);
    EXECUTE format('CREATE POLICY worker ON %s TO rollcall_worker USING (true)', target);
    EXECUTE format('CREATE POLICY operator ON %s TO rollcall_operator USING (true)', target);
    EXECUTE format('CREATE POLICY tenant ON %s TO rollcall_tenant USING (%s)', target, own);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s', target, everybody);
END $$;

CREATE FUNCTION rollcall_isolate_back(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    policy text;
BEGIN
    FOR policy IN SELECT polname FROM pg_policy WHERE polrelid = target LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy, target);
    END LOOP;
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', target);
    EXECUTE format('REVOKE ALL ON %s FROM rollcall_tenant, rollcall_operator, rollcall_web, '
                   'rollcall_worker', target);
END $$;

-- For a hypertable, which cannot have policies if it is to be compressed: it is not granted to
-- rollcall_tenant at all, since whoever may read a hypertable may read its chunks by their names.
-- Instead there is a view of the same name that filters before anything else is evaluated.
CREATE FUNCTION rollcall_scope_view(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := (SELECT relname FROM pg_class WHERE oid = target);
BEGIN
    EXECUTE format('DROP VIEW IF EXISTS scoped.%I', name);
    EXECUTE format(
        'CREATE VIEW scoped.%I WITH (security_barrier) AS SELECT * FROM %s '
        'WHERE tenant_id = ANY ((SELECT rollcall_tenant_ids())::integer[]) '
        'WITH LOCAL CHECK OPTION', name, target);
    EXECUTE format('GRANT SELECT ON scoped.%I TO rollcall_tenant, rollcall_web', name);
    EXECUTE format('GRANT SELECT ON %s TO rollcall_operator', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO rollcall_worker', target);
END $$;

CREATE FUNCTION rollcall_scope_view_back(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP VIEW scoped.%I', (SELECT relname FROM pg_class WHERE oid = target));
    EXECUTE format('REVOKE ALL ON %s FROM rollcall_operator, rollcall_worker', target);
END $$;
"""
FUNCTIONS_BACK = """
DROP FUNCTION rollcall_scope_view_back(regclass);
DROP FUNCTION rollcall_scope_view(regclass);
DROP FUNCTION rollcall_isolate_back(regclass);
DROP FUNCTION rollcall_isolate(regclass, text);
DROP FUNCTION rollcall_user_id();
DROP FUNCTION rollcall_tenant_ids();
"""

TABLES = """
SELECT rollcall_isolate('devices_tenant', 'id');
SELECT rollcall_isolate('devices_membership');
SELECT rollcall_isolate('devices_site');
SELECT rollcall_isolate('devices_devicegroup');
SELECT rollcall_isolate('devices_device');
SELECT rollcall_isolate('devices_credential');
SELECT rollcall_isolate('devices_enrolmenttoken');
"""
TABLES_BACK = """
SELECT rollcall_isolate_back('devices_enrolmenttoken');
SELECT rollcall_isolate_back('devices_credential');
SELECT rollcall_isolate_back('devices_device');
SELECT rollcall_isolate_back('devices_devicegroup');
SELECT rollcall_isolate_back('devices_site');
SELECT rollcall_isolate_back('devices_membership');
SELECT rollcall_isolate_back('devices_tenant');
"""

# What has to be known before there is a scope: whose key, whose token, whose tenants. Each answers
# only somebody who knows the key's or token's public part, or who the person is.
DOORS = """
CREATE FUNCTION devices_keys_in_force(prefixes text[])
RETURNS TABLE (prefix varchar, secret_sha256 bytea, tenant_id integer, device integer,
               device_id varchar, interval_s integer, registration varchar, is_pending boolean,
               tenant_rate_per_s float8, tenant_burst integer, rate_per_s float8, burst integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT c.prefix, c.secret_sha256, c.tenant_id, c.device_id, d.device_id,
           coalesce(d.expected_interval_s, t.default_interval_s), t.registration,
           coalesce(d.is_pending, false), t.rate_per_s, t.burst,
           CASE WHEN c.device_id IS NOT NULL
                THEN coalesce(d.rate_per_s, t.device_rate_per_s) END,
           CASE WHEN d.rate_per_s IS NULL THEN t.device_burst ELSE d.burst END
    FROM devices_credential c
    JOIN devices_tenant t ON t.id = c.tenant_id
    LEFT JOIN devices_device d ON d.id = c.device_id
    WHERE c.prefix = ANY(prefixes) AND t.is_active
      AND (c.revoked_at IS NULL OR c.revoked_at > statement_timestamp());
END $$;

CREATE FUNCTION devices_enrolmenttoken_tenant(wanted text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT tenant_id FROM devices_enrolmenttoken WHERE prefix = wanted
$$;

CREATE FUNCTION devices_roles_of(person integer) RETURNS TABLE (tenant_id integer, role varchar)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT tenant_id, role FROM devices_membership WHERE user_id = person
$$;

REVOKE EXECUTE ON FUNCTION devices_keys_in_force, devices_enrolmenttoken_tenant, devices_roles_of
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_keys_in_force, devices_enrolmenttoken_tenant, devices_roles_of
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""
DOORS_BACK = """
DROP FUNCTION devices_roles_of(integer);
DROP FUNCTION devices_enrolmenttoken_tenant(text);
DROP FUNCTION devices_keys_in_force(text[]);
"""

# People and the admin's log belong to no tenant. In a tenant's scope one sees oneself and the other
# members, and one's own entries; changing people is for pages outside of scopes and for operators.
PEOPLE = """
SELECT rollcall_isolate('auth_user', 'id');
DROP POLICY tenant ON auth_user;
CREATE POLICY tenant ON auth_user TO rollcall_tenant USING (
    id = (SELECT rollcall_user_id()) OR id IN (SELECT user_id FROM devices_membership)
);
CREATE POLICY web ON auth_user TO rollcall_web USING (true);
REVOKE INSERT, UPDATE, DELETE ON auth_user FROM rollcall_tenant;

SELECT rollcall_isolate('django_admin_log', 'user_id');
DROP POLICY tenant ON django_admin_log;
CREATE POLICY tenant ON django_admin_log TO rollcall_tenant
    USING (user_id = (SELECT rollcall_user_id()));
CREATE POLICY web ON django_admin_log TO rollcall_web USING (true);
REVOKE UPDATE, DELETE ON django_admin_log FROM rollcall_tenant;
"""
PEOPLE_BACK = """
SELECT rollcall_isolate_back('django_admin_log');
SELECT rollcall_isolate_back('auth_user');
"""


class Migration(migrations.Migration):
    dependencies = (
        ("devices", "0005_groups_and_limits"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    )

    operations = (
        migrations.RunSQL(ROLES, ROLES_BACK),
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_BACK),
        migrations.RunSQL(TABLES, TABLES_BACK),
        migrations.RunSQL(DOORS, DOORS_BACK),
        migrations.RunSQL(PEOPLE, PEOPLE_BACK),
    )
