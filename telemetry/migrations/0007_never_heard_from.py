"""A new device was “never heard from”, and the device's clock is told by how far it is off."""

from django.db import migrations

CREATE = """
CREATE OR REPLACE FUNCTION telemetry_devicestatus_create() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO telemetry_devicestatus
        (device_id, tenant_id, state, state_since, reason, interval_s, grace_s, excused_s)
    SELECT NEW.id, NEW.tenant_id, 'new', NEW.created_at, 'registered, never heard {word}',
           coalesce(NEW.expected_interval_s, t.default_interval_s),
           coalesce(NEW.grace_s, t.default_grace_s), 0
    FROM devices_tenant t WHERE t.id = NEW.tenant_id;
    RETURN NULL;
END $$
"""
KNOWN = """
UPDATE telemetry_devicestatus SET reason = replace(reason, 'never heard of', 'never heard from')
WHERE reason LIKE '%never heard of%'
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0006_last_heartbeat"),)

    operations = (
        migrations.RunSQL(CREATE.format(word="from"), CREATE.format(word="of")),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RemoveField("devicestatus", "last_time"),
    )
