"""The database keeps tenants apart, with these roles and with functions that give tables their
policies.

- `rollcall_web` is the login for the processes that serve people and devices. It may switch to the
  next two roles; without a scope it cannot see any tenant's rows.
- `rollcall_tenant` sees the rows of the tenants in app.tenant_ids. It cannot log in.
- `rollcall_operator` sees the rows of all tenants. It cannot log in either.
- `rollcall_worker` is the login for the processes that store messages and sweep for all tenants.
"""

from django.db import migrations

# Roles belong to the server, not to a database. So they may already exist, with passwords, if they
# were created when the server was set up or for a different database.
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
# The roles are kept, because a different database on this server may use them.
ROLES_BACK = """
REVOKE USAGE ON SCHEMA public
    FROM rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
DROP SCHEMA scoped CASCADE;
"""

# Functions that return the scope. Policies call them in a sub-select, so that they run once per
# query rather than once per row. After a transaction in which the setting was set, its value is the
# empty string. They are written in PL/pgSQL, which is parsed once per connection: PostgreSQL would
# parse an SQL function again, in order to inline it, for each table in each query that it plans.
SCOPE = """
CREATE FUNCTION rollcall_tenant_ids() RETURNS integer[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN nullif(current_setting('app.tenant_ids', true), '')::integer[];
END $$;

CREATE FUNCTION rollcall_user_id() RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN nullif(current_setting('app.user_id', true), '')::integer;
END $$;
"""
SCOPE_BACK = """
DROP FUNCTION rollcall_user_id();
DROP FUNCTION rollcall_tenant_ids();
"""

# For an ordinary table: rollcall_tenant sees the rows of the scope's tenants, the operator and the
# worker see all rows. rollcall_web has the right to query the table but no policy, so without a
# scope it sees no rows rather than getting an error.
ISOLATE = """
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
"""
ISOLATE_BACK = """
DROP FUNCTION rollcall_isolate_back(regclass);
DROP FUNCTION rollcall_isolate(regclass, text);
"""

# For a table of events: like rollcall_isolate, but rows can be inserted only by a trigger, whoever
# makes the change, and only the owner may change or remove a row.
ISOLATE_HISTORY = """
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
ISOLATE_HISTORY_BACK = "DROP FUNCTION rollcall_isolate_history(regclass, text);"

# For a hypertable, which cannot have policies if it is to be compressed. rollcall_tenant gets no
# rights on it at all, because a role that may read a hypertable may also read its chunks by name.
# Instead it gets a view with the same name, which filters before anything else is evaluated. A view
# keeps the columns it was created with: call this again when the hypertable gets a new column.
SCOPE_VIEW = """
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
SCOPE_VIEW_BACK = """
DROP FUNCTION rollcall_scope_view_back(regclass);
DROP FUNCTION rollcall_scope_view(regclass);
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0001_tables"),)

    operations = (
        migrations.RunSQL(ROLES, ROLES_BACK),
        migrations.RunSQL(SCOPE, SCOPE_BACK),
        migrations.RunSQL(ISOLATE, ISOLATE_BACK),
        migrations.RunSQL(ISOLATE_HISTORY, ISOLATE_HISTORY_BACK),
        migrations.RunSQL(SCOPE_VIEW, SCOPE_VIEW_BACK),
    )
