"""Triggers keep the names of devices, so that forms, bulk changes and shells cannot disagree."""

from django.db import migrations

# Not even the trigger shows a tenant another one's names: it runs with the rights of whoever makes
# the change.
POLICIES = """
SELECT rollcall_isolate('devices_devicename');
SELECT rollcall_isolate('devices_devicealias');
SELECT rollcall_isolate_history('devices_devicealiasevent');
"""
POLICIES_BACK = """
SELECT rollcall_isolate_back('devices_devicealiasevent');
SELECT rollcall_isolate_back('devices_devicealias');
SELECT rollcall_isolate_back('devices_devicename');
"""

EXISTING = """
INSERT INTO devices_devicename (tenant_id, device_id, canonical)
SELECT tenant_id, id, devices_canonical(device_id) FROM devices_device;
"""

# A name is claimed for its device; the unique constraint decides between two that want it at the
# same moment. An alias' claim is released unless the device still has that name in some spelling.
CLAIMS = """
CREATE FUNCTION devices_name_claim(tenant integer, device integer, name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO devices_devicename AS held (tenant_id, device_id, canonical)
    VALUES (tenant, device, devices_canonical(name))
    ON CONFLICT (tenant_id, canonical) DO UPDATE SET device_id = excluded.device_id
        WHERE held.device_id = excluded.device_id;
    IF NOT FOUND THEN
        RAISE unique_violation USING
            MESSAGE = format('%s is a name of a different device of this tenant', name),
            TABLE = 'devices_devicename', CONSTRAINT = 'name_once_a_tenant';
    END IF;
END $$;

CREATE FUNCTION devices_name_release(tenant integer, device integer, name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM devices_devicename held
    WHERE held.tenant_id = tenant AND held.device_id = device
      AND held.canonical = devices_canonical(name)
      AND NOT EXISTS (SELECT FROM devices_device d WHERE d.id = device
                      AND devices_canonical(d.device_id) = held.canonical)
      AND NOT EXISTS (SELECT FROM devices_devicealias a WHERE a.device_id = device
                      AND devices_canonical(a.alias) = held.canonical);
END $$;
"""
CLAIMS_BACK = """
DROP FUNCTION devices_name_release(integer, integer, text);
DROP FUNCTION devices_name_claim(integer, integer, text);
"""

# A renamed device keeps its previous ID as an alias. If it is renamed back to an alias, that alias
# becomes its ID again.
TRIGGERS = """
CREATE FUNCTION devices_device_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM devices_name_claim(NEW.tenant_id, NEW.id, NEW.device_id);
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM devices_devicealias
        WHERE tenant_id = NEW.tenant_id AND device_id = NEW.id AND alias = NEW.device_id;
        INSERT INTO devices_devicealias (tenant_id, device_id, alias, created_at)
        VALUES (NEW.tenant_id, NEW.id, OLD.device_id, now());
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION devices_devicealias_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM devices_name_release(OLD.tenant_id, OLD.device_id, OLD.alias);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM devices_name_claim(NEW.tenant_id, NEW.device_id, NEW.alias);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER devices_device_named AFTER INSERT ON devices_device
    FOR EACH ROW EXECUTE FUNCTION devices_device_name();

CREATE TRIGGER devices_device_renamed AFTER UPDATE OF device_id ON devices_device
    FOR EACH ROW WHEN (OLD.device_id IS DISTINCT FROM NEW.device_id)
    EXECUTE FUNCTION devices_device_name();

CREATE TRIGGER devices_devicealias_named
    AFTER INSERT OR DELETE OR UPDATE OF tenant_id, device_id, alias ON devices_devicealias
    FOR EACH ROW EXECUTE FUNCTION devices_devicealias_name();
"""
TRIGGERS_BACK = """
DROP TRIGGER devices_devicealias_named ON devices_devicealias;
DROP TRIGGER devices_device_renamed ON devices_device;
DROP TRIGGER devices_device_named ON devices_device;
DROP FUNCTION devices_devicealias_name();
DROP FUNCTION devices_device_name();
"""

# For finding a deleted device that is added again: a history is long, and deletions are few.
DELETED = """
CREATE INDEX device_event_deleted ON devices_deviceevent (tenant_id) WHERE pgh_label = 'delete';
"""
DELETED_BACK = "DROP INDEX device_event_deleted;"


def select(subject: str, name: str, device: str, tenant: str, rows: str) -> str:
    """The events of one model, as rows of the history."""
    return f"""
SELECT '{subject}-' || pgh_id AS id, '{subject}' AS subject, pgh_id AS number,
       pgh_obj_id AS object_id, {name} AS object_name, {device} AS of_device, {tenant},
       pgh_label AS change, pgh_created_at AS at, devices_history_who(pgh_context) AS who,
       pgh_context AS origin, to_jsonb(event) AS data
FROM {rows}
"""


EVENTS = (
    select("device", "device_id::text", "id", "tenant_id", "devices_deviceevent event"),
    select(
        "key", "'rc_' || prefix || '_…'", "device_id", "tenant_id", "devices_credentialevent event"
    ),
    select("site", "name::text", "NULL", "tenant_id", "devices_siteevent event"),
    select(
        "member",
        "coalesce(person.username::text, 'person ' || event.user_id)",
        "NULL",
        "tenant_id",
        "devices_membershipevent event LEFT JOIN auth_user person ON person.id = event.user_id",
    ),
    select("tenant", "name::text", "NULL", "id", "devices_tenantevent event"),
    select("group", "name::text", "NULL", "tenant_id", "devices_devicegroupevent event"),
    select("invitation", "email::text", "NULL", "tenant_id", "devices_invitationevent event"),
)
ALIASES = select("alias", "alias::text", "device_id", "tenant_id", "devices_devicealiasevent event")
VIEW = "CREATE OR REPLACE VIEW devices_history WITH (security_invoker) AS"


class Migration(migrations.Migration):
    dependencies = (("devices", "0008_names"),)

    operations = (
        migrations.RunSQL(POLICIES, POLICIES_BACK),
        migrations.RunSQL(EXISTING, migrations.RunSQL.noop),
        migrations.RunSQL(CLAIMS, CLAIMS_BACK),
        migrations.RunSQL(TRIGGERS, TRIGGERS_BACK),
        migrations.RunSQL(DELETED, DELETED_BACK),
        migrations.RunSQL(
            f"{VIEW}{'UNION ALL'.join((*EVENTS, ALIASES))};", f"{VIEW}{'UNION ALL'.join(EVENTS)};"
        ),
    )
