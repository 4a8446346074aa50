"""The look-up of keys also says which were revoked, so that a device that goes on using one can be
recognised."""

from django.db import migrations

# `revoked_at` is null for keys that are in force, also for those that will be revoked later.
KEYS = """
DROP FUNCTION devices_keys_in_force(text[]);

CREATE FUNCTION devices_keys_by_prefix(prefixes text[])
RETURNS TABLE (prefix varchar, secret_sha256 bytea, tenant_id integer, device integer,
               device_id varchar, interval_s integer, registration varchar, is_pending boolean,
               tenant_rate_per_s float8, tenant_burst integer, rate_per_s float8, burst integer,
               revoked_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT c.prefix, c.secret_sha256, c.tenant_id, c.device_id, d.device_id,
           coalesce(d.expected_interval_s, t.default_interval_s), t.registration,
           coalesce(d.is_pending, false), t.rate_per_s, t.burst,
           CASE WHEN c.device_id IS NOT NULL
                THEN coalesce(d.rate_per_s, t.device_rate_per_s) END,
           CASE WHEN d.rate_per_s IS NULL THEN t.device_burst ELSE d.burst END,
           CASE WHEN c.revoked_at <= statement_timestamp() THEN c.revoked_at END
    FROM devices_credential c
    JOIN devices_tenant t ON t.id = c.tenant_id
    LEFT JOIN devices_device d ON d.id = c.device_id
    WHERE c.prefix = ANY(prefixes) AND t.is_active;
END $$;

REVOKE EXECUTE ON FUNCTION devices_keys_by_prefix FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_keys_by_prefix
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""
KEYS_BACK = """
DROP FUNCTION devices_keys_by_prefix(text[]);

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

REVOKE EXECUTE ON FUNCTION devices_keys_in_force FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_keys_in_force
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0010_intervals_of_a_year"),)

    operations = (migrations.RunSQL(KEYS, KEYS_BACK),)
