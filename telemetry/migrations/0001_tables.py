"""Three hypertables, each device's latest status, and when presence was swept."""

import django.db.models.deletion
from django.db import migrations, models

import telemetry.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("devices", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device",
                        "bucket",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("bucket", telemetry.fields.HypertableTimeField(chunk="heartbeat")),
                ("time", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("battery_pct", models.FloatField(null=True)),
                ("rssi_dbm", models.FloatField(null=True)),
                ("uptime_s", models.FloatField(null=True)),
                ("version", models.CharField(max_length=64, null=True)),
                ("address", models.GenericIPAddressField(null=True)),
                ("vitals", models.JSONField(null=True)),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
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
            options={
                "db_table": "telemetry_heartbeat",
            },
        ),
        migrations.CreateModel(
            name="Reading",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device",
                        "time",
                        "msg_type",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("time", telemetry.fields.HypertableTimeField(chunk="reading")),
                ("msg_type", models.CharField(max_length=32)),
                ("received_at", models.DateTimeField()),
                ("seq", models.BigIntegerField(null=True)),
                ("site", models.CharField(max_length=64, null=True)),
                ("metrics", models.JSONField()),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
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
            options={
                "db_table": "telemetry_reading",
            },
        ),
        migrations.CreateModel(
            name="DeviceStatus",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="status",
                        serialize=False,
                        to="devices.device",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("online", "Online"),
                            ("late", "Late"),
                            ("offline", "Offline"),
                            ("paused", "Paused"),
                        ],
                        default="new",
                        max_length=8,
                    ),
                ),
                ("state_since", models.DateTimeField()),
                ("reason", models.TextField()),
                ("interval_s", models.PositiveIntegerField()),
                ("grace_s", models.PositiveIntegerField()),
                ("excused_s", models.FloatField(default=0)),
                ("late_at", models.DateTimeField(null=True)),
                ("offline_at", models.DateTimeField(null=True)),
                ("last_seen", models.DateTimeField(null=True)),
                ("clock_skew_s", models.FloatField(null=True)),
                ("skew_candidate_s", models.FloatField(null=True)),
                ("skew_candidate_at", models.DateTimeField(null=True)),
                ("battery_pct", models.FloatField(null=True)),
                ("rssi_dbm", models.FloatField(null=True)),
                ("uptime_s", models.FloatField(null=True)),
                ("version", models.CharField(max_length=64, null=True)),
                ("address", models.GenericIPAddressField(null=True)),
                ("vitals", models.JSONField(null=True)),
                ("last_heartbeat_at", models.DateTimeField(null=True)),
                ("last_reading_at", models.DateTimeField(null=True)),
                ("metrics", models.JSONField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "device statuses",
                "db_table": "telemetry_devicestatus",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "online")),
                        fields=["late_at"],
                        name="status_next_late",
                    ),
                    models.Index(
                        condition=models.Q(("state", "late")),
                        fields=["offline_at"],
                        name="status_next_offline",
                    ),
                    models.Index(fields=["tenant", "state"], name="status_by_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="PresenceEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device",
                        "time",
                        "state",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("time", telemetry.fields.HypertableTimeField(chunk="presenceevent")),
                (
                    "previous_state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("online", "Online"),
                            ("late", "Late"),
                            ("offline", "Offline"),
                            ("paused", "Paused"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("online", "Online"),
                            ("late", "Late"),
                            ("offline", "Offline"),
                            ("paused", "Paused"),
                        ],
                        max_length=8,
                    ),
                ),
                ("reason", models.TextField()),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
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
            options={
                "db_table": "telemetry_presenceevent",
            },
        ),
        migrations.CreateModel(
            name="PresenceBreak",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
            ],
            options={
                "db_table": "telemetry_presencebreak",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("until", "since"), name="presencebreak_is_known"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PresenceSweep",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("swept_at", models.DateTimeField()),
            ],
            options={
                "db_table": "telemetry_presencesweep",
            },
        ),
    ]
