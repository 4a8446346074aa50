"""A device whose messages are refused is `refused`, not silent; a new interval or grace has it
judged again; a pause may have an end."""

import django.db.models.deletion
from django.db import migrations, models

STATES = [
    ("new", "New"),
    ("online", "Online"),
    ("refused", "Refused"),
    ("late", "Late"),
    ("offline", "Offline"),
    ("paused", "Paused"),
]

# Refusals are recorded while devices are deleted. This key, unlike Django's, deletes a row that was
# written meanwhile.
REFUSALS = """
ALTER TABLE telemetry_lastrefusal ADD CONSTRAINT lastrefusal_goes_with_its_device
    FOREIGN KEY (device_id) REFERENCES devices_device ON DELETE CASCADE;
SELECT rollcall_isolate('telemetry_lastrefusal');
"""
REFUSALS_BACK = """
SELECT rollcall_isolate_back('telemetry_lastrefusal');
ALTER TABLE telemetry_lastrefusal DROP CONSTRAINT lastrefusal_goes_with_its_device;
"""

# The next sweep judges the device by its new interval and grace: it alone knows up to when messages
# are stored, and writes the transition with its reason. A device that was never heard has nothing
# to be judged by, and a paused one is judged when it is resumed.
RESCHEDULE = """
CREATE OR REPLACE FUNCTION telemetry_devicestatus_reschedule(devices integer[]) RETURNS void
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
        expectation_changed_at = CASE WHEN s.state NOT IN ('new', 'paused') THEN now() END
    FROM allowed a
    WHERE s.device_id = a.device_id
      AND (s.interval_s, s.grace_s) IS DISTINCT FROM (a.interval_s, a.grace_s)
$$;
"""
RESCHEDULE_BACK = """
CREATE OR REPLACE FUNCTION telemetry_devicestatus_reschedule(devices integer[]) RETURNS void
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
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0005_scoped_views"), ("devices", "0002_roles"))

    operations = (
        migrations.CreateModel(
            name="LastRefusal",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device",
                        "accepted",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("accepted", models.BooleanField()),
                ("at", models.DateTimeField()),
                ("since", models.DateTimeField()),
                ("count", models.BigIntegerField()),
                ("reason", models.TextField()),
                ("sample", models.TextField()),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="refusals",
                        to="devices.device",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={"db_table": "telemetry_lastrefusal"},
        ),
        migrations.AddField(
            model_name="devicestatus",
            name="expectation_changed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="devicestatus",
            name="paused_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="presencesweep",
            name="refusals_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name="devicestatus",
            name="state",
            field=models.CharField(choices=STATES, default="new", max_length=8),
        ),
        migrations.AlterField(
            model_name="presenceevent",
            name="previous_state",
            field=models.CharField(choices=STATES, max_length=8),
        ),
        migrations.AlterField(
            model_name="presenceevent",
            name="state",
            field=models.CharField(choices=STATES, max_length=8),
        ),
        migrations.RemoveIndex(model_name="devicestatus", name="status_next_late"),
        migrations.AddIndex(
            model_name="devicestatus",
            index=models.Index(
                condition=models.Q(("state__in", ("online", "refused"))),
                fields=["late_at"],
                name="status_next_late",
            ),
        ),
        migrations.AddIndex(
            model_name="devicestatus",
            index=models.Index(
                condition=models.Q(("expectation_changed_at__isnull", False)),
                fields=["expectation_changed_at"],
                name="status_to_judge_again",
            ),
        ),
        migrations.AddIndex(
            model_name="devicestatus",
            index=models.Index(
                condition=models.Q(("paused_until__isnull", False)),
                fields=["paused_until"],
                name="status_pause_ends",
            ),
        ),
        migrations.RunSQL(REFUSALS, REFUSALS_BACK),
        migrations.RunSQL(RESCHEDULE, RESCHEDULE_BACK),
    )
