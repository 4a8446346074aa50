from django.db import migrations

# In PL/pgSQL: a function in SQL is parsed anew, to be put in its place, for each table of each
# query that is planned in a scope. The other language's is parsed once a connection.
CALLED = """
CREATE OR REPLACE FUNCTION rollcall_tenant_ids() RETURNS integer[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN nullif(current_setting('app.tenant_ids', true), '')::integer[];
END $$;

CREATE OR REPLACE FUNCTION rollcall_user_id() RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN nullif(current_setting('app.user_id', true), '')::integer;
END $$;
"""
CALLED_BACK = """
CREATE OR REPLACE FUNCTION rollcall_tenant_ids() RETURNS integer[]
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('app.tenant_ids', true), '')::integer[]
$$;

CREATE OR REPLACE FUNCTION rollcall_user_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('app.user_id', true), '')::integer
$$;
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0033_invitations_of_who_may_not_invite"),)
    operations = (migrations.RunSQL(CALLED, CALLED_BACK),)
