"""Functions for what must be known before a scope is open: the owner of a key or a token, and a
person's tenants.

These functions run as their owner, who can see all rows. Therefore each returns something only if
the caller already knows the public part of a key or token, the token itself, or who the person is.
"""

from django.db import migrations

# Includes the limits and the interval of the key's owner, so that the ingest endpoints need only
# one query.
KEYS = """
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
KEYS_BACK = """
DROP FUNCTION devices_roles_of(integer);
DROP FUNCTION devices_enrolmenttoken_tenant(text);
DROP FUNCTION devices_keys_in_force(text[]);
"""

# Somebody who follows an invitation's link does not belong to a tenant yet.
# devices_invitation_tenant returns the tenant only to a caller who has the token.
# devices_invitations_for is called for addresses that an identity provider has verified, and
# returns only which tenants have invited them.
#
# An invitation works only as long as its sender could still send it. This must be checked by the
# function's owner, because a scope does not show people who have left. Inside a scope, the check
# covers only the scope's tenants.
INVITATIONS = """
CREATE FUNCTION devices_invitation_tenant(wanted bytea) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT tenant_id FROM devices_invitation WHERE token_sha256 = wanted
$$;

CREATE FUNCTION devices_invitation_stands(invitation integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM devices_invitation i
        JOIN auth_user u ON u.id = i.invited_by_id AND u.is_active
        WHERE i.id = invitation
          AND (rollcall_tenant_ids() IS NULL OR i.tenant_id = ANY (rollcall_tenant_ids()))
          AND (u.is_superuser OR EXISTS (
              SELECT FROM devices_membership m
              WHERE m.tenant_id = i.tenant_id AND m.user_id = u.id AND m.role = 'owner'
          ))
    )
$$;

CREATE FUNCTION devices_invitations_for(address text, ts timestamptz)
RETURNS TABLE (id integer, tenant_id integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id, i.tenant_id FROM devices_invitation i
    WHERE i.email = lower(address) AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at > ts AND devices_invitation_stands(i.id)
    ORDER BY i.id
$$;

REVOKE EXECUTE ON FUNCTION devices_invitation_tenant, devices_invitations_for FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_invitation_tenant, devices_invitations_for TO rollcall_web;
REVOKE EXECUTE ON FUNCTION devices_invitation_stands FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_invitation_stands
    TO rollcall_tenant, rollcall_operator, rollcall_web;
"""
INVITATIONS_BACK = """
DROP FUNCTION devices_invitations_for(text, timestamptz);
DROP FUNCTION devices_invitation_stands(integer);
DROP FUNCTION devices_invitation_tenant(bytea);
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0003_policies"),)

    operations = (
        migrations.RunSQL(KEYS, KEYS_BACK),
        migrations.RunSQL(INVITATIONS, INVITATIONS_BACK),
    )
