"""Every device has one status row, with the interval and grace in force for it.

Triggers ensure this, because devices are added and changed in bulk, in forms and in shells, and
nobody would see the heartbeats from a device without a status row.
"""

from django.db import migrations

TRIGGERS = """
CREATE FUNCTION telemetry_devicestatus_create() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO telemetry_devicestatus
        (device_id, tenant_id, state, state_since, reason, interval_s, grace_s, excused_s)
    SELECT NEW.id, NEW.tenant_id, 'new', NEW.created_at, 'registered, never heard from',
           coalesce(NEW.expected_interval_s, t.default_interval_s),
           coalesce(NEW.grace_s, t.default_grace_s), 0
    FROM devices_tenant t WHERE t.id = NEW.tenant_id;
    RETURN NULL;
END $$;

CREATE FUNCTION telemetry_devicestatus_reschedule(devices integer[]) RETURNS void
LANGUAGE sql AS $$
    WITH allowed AS (
        SELECT s.device_id, coalesce(d.expected_interval_s, t.default_interval_s) AS interval_s,
               coalesce(d.grace_s, t.default_grace_s) AS grace_s
        FROM telemetry_devicestatus s
        JOIN devices_device d ON d.id = s.device_id
        JOIN devices_tenant t ON t.id = d.tenant_id
        WHERE s.device_id = ANY(devices)
        ORDER BY s.device_id
        FOR UPDATE OF s
    )
    UPDATE telemetry_devicestatus s
    SET interval_s = a.interval_s,
        grace_s = a.grace_s,
        late_at = s.last_seen
            + make_interval(secs => s.excused_s + a.interval_s + a.grace_s),
        offline_at = s.last_seen
            + make_interval(secs => s.excused_s + 2 * (a.interval_s + a.grace_s))
    FROM allowed a
    WHERE s.device_id = a.device_id
$$;

CREATE FUNCTION telemetry_devicestatus_follow_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM telemetry_devicestatus_reschedule(ARRAY[NEW.id]);
    RETURN NULL;
END $$;

CREATE FUNCTION telemetry_devicestatus_follow_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM telemetry_devicestatus_reschedule(array(
        SELECT id FROM devices_device
        WHERE tenant_id = NEW.id AND (expected_interval_s IS NULL OR grace_s IS NULL)
    ));
    RETURN NULL;
END $$;

CREATE TRIGGER telemetry_devicestatus_create AFTER INSERT ON devices_device
    FOR EACH ROW EXECUTE FUNCTION telemetry_devicestatus_create();

CREATE TRIGGER telemetry_devicestatus_follow_device
    AFTER UPDATE OF expected_interval_s, grace_s ON devices_device
    FOR EACH ROW
    WHEN ((OLD.expected_interval_s, OLD.grace_s) IS DISTINCT FROM
          (NEW.expected_interval_s, NEW.grace_s))
    EXECUTE FUNCTION telemetry_devicestatus_follow_device();

CREATE TRIGGER telemetry_devicestatus_follow_tenant
    AFTER UPDATE OF default_interval_s, default_grace_s ON devices_tenant
    FOR EACH ROW
    WHEN ((OLD.default_interval_s, OLD.default_grace_s) IS DISTINCT FROM
          (NEW.default_interval_s, NEW.default_grace_s))
    EXECUTE FUNCTION telemetry_devicestatus_follow_tenant();
"""
TRIGGERS_BACK = """
DROP TRIGGER telemetry_devicestatus_follow_tenant ON devices_tenant;
DROP TRIGGER telemetry_devicestatus_follow_device ON devices_device;
DROP TRIGGER telemetry_devicestatus_create ON devices_device;
DROP FUNCTION telemetry_devicestatus_follow_tenant();
DROP FUNCTION telemetry_devicestatus_follow_device();
DROP FUNCTION telemetry_devicestatus_reschedule(integer[]);
DROP FUNCTION telemetry_devicestatus_create();
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0001_tables"),)

    operations = (migrations.RunSQL(TRIGGERS, TRIGGERS_BACK),)
