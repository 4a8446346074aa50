"""The ledger, rejected messages, and messages that the door refused."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("devices", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerMinute",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant",
                        "minute",
                        "shard",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("shard", models.PositiveSmallIntegerField()),
                ("accepted", models.BigIntegerField(default=0)),
                ("stored", models.BigIntegerField(default=0)),
                ("duplicate", models.BigIntegerField(default=0)),
                ("late", models.BigIntegerField(default=0)),
                ("rejected", models.BigIntegerField(default=0)),
                ("replayed", models.BigIntegerField(default=0)),
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
                "db_table": "ingest_ledgerminute",
                "indexes": [models.Index(fields=["minute"], name="ledger_minute")],
            },
        ),
        migrations.CreateModel(
            name="DrainPosition",
            fields=[
                ("shard", models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ("identity", models.CharField(max_length=32)),
                ("entry_id", models.CharField(max_length=40)),
            ],
            options={
                "db_table": "ingest_drainposition",
            },
        ),
        migrations.CreateModel(
            name="RejectedMessage",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("heartbeat", "Heartbeat"), ("reading", "Reading")], max_length=9
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("pending_device", "device is not approved yet"),
                            ("unknown_device", "device no longer exists"),
                            ("invalid_data", "the database refused it"),
                            ("corrected", "corrected"),
                        ],
                        max_length=16,
                    ),
                ),
                ("error", models.TextField()),
                ("payload", models.TextField(help_text="The message as JSON.")),
                ("received_at", models.DateTimeField()),
                ("shard", models.PositiveSmallIntegerField()),
                ("replayed_at", models.DateTimeField(null=True)),
                ("replayed_by", models.CharField(blank=True, max_length=150)),
                (
                    "replay_requested_by",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Who requested a replay; empty: nobody.",
                        max_length=150,
                    ),
                ),
                (
                    "replay_failed_at",
                    models.DateTimeField(
                        help_text="When the last replay failed; empty: none did.", null=True
                    ),
                ),
                (
                    "replay_error",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Why the last replay failed.",
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "ingest_rejectedmessage",
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("replay_requested_by", ""), _negated=True),
                        fields=["replay_requested_by"],
                        name="rejected_requested",
                    ),
                    models.Index(
                        condition=models.Q(("reason", "pending_device"), ("replayed_at", None)),
                        fields=["device"],
                        name="rejected_held",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LimitBreach",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("tenant_rate", "tenant's rate"),
                            ("device_rate", "device's rate"),
                            ("backlog", "backlog"),
                            ("foreign_device", "spoke for another device"),
                        ],
                        max_length=14,
                        verbose_name="reason",
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("limit_words", models.CharField(max_length=200, verbose_name="limit")),
                ("refused", models.BigIntegerField(verbose_name="messages refused")),
                ("first_at", models.DateTimeField(verbose_name="first refusal")),
                ("last_at", models.DateTimeField(verbose_name="last refusal")),
                (
                    "device",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
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
                "verbose_name": "refused message",
                "verbose_name_plural": "refused messages",
                "db_table": "ingest_limitbreach",
                "ordering": ("-minute", "-id"),
                "indexes": [models.Index(fields=["minute"], name="breach_minute")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "kind", "device", "minute"),
                        name="breach_once_a_minute",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerCheck",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("checked_at", models.DateTimeField()),
                ("residual", models.BigIntegerField()),
            ],
            options={
                "db_table": "ingest_ledgercheck",
            },
        ),
    ]
