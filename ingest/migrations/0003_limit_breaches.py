"""Which limits were hit, a row a minute, and what the last look at the ledger found."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0005_groups_and_limits"),
        ("ingest", "0002_rejected_held_and_ledger_minute"),
    ]

    operations = [
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
            options={"db_table": "ingest_ledgercheck"},
        ),
        migrations.CreateModel(
            name="LimitBreach",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
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
                    "kind",
                    models.CharField(
                        choices=[
                            ("tenant_rate", "tenant's rate"),
                            ("device_rate", "device's rate"),
                            ("foreign_device", "foreign device"),
                            ("backlog", "backlog"),
                        ],
                        max_length=14,
                        verbose_name="limit",
                    ),
                ),
                ("minute", models.DateTimeField()),
                (
                    "limit_words",
                    models.CharField(max_length=200, verbose_name="limit in words"),
                ),
                ("refused", models.BigIntegerField(verbose_name="messages refused")),
                ("first_at", models.DateTimeField(verbose_name="first refusal")),
                ("last_at", models.DateTimeField(verbose_name="last refusal")),
            ],
            options={
                "verbose_name": "limit breach",
                "verbose_name_plural": "limit breaches",
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
    ]
