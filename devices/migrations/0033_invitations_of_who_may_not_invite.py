from django.db import migrations

# An invitation is its sender's word: it opens nothing once they could not give it any more. The
# owner of the function sees what a scope does not: people who have left. It answers about the
# scope's tenants only.
STANDS = """
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

CREATE OR REPLACE FUNCTION devices_invitations_for(address text, ts timestamptz)
RETURNS TABLE (id integer, tenant_id integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id, i.tenant_id FROM devices_invitation i
    WHERE i.email = lower(address) AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at > ts AND devices_invitation_stands(i.id)
    ORDER BY i.id
$$;

REVOKE EXECUTE ON FUNCTION devices_invitation_stands FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_invitation_stands
    TO rollcall_tenant, rollcall_operator, rollcall_web;
"""
STANDS_BACK = """
CREATE OR REPLACE FUNCTION devices_invitations_for(address text, ts timestamptz)
RETURNS TABLE (id integer, tenant_id integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id, i.tenant_id FROM devices_invitation i
    WHERE i.email = lower(address) AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at > ts
    ORDER BY i.id
$$;

DROP FUNCTION devices_invitation_stands(integer);
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0032_history_of_groups_and_invitations"),)
    operations = (migrations.RunSQL(STANDS, STANDS_BACK),)
