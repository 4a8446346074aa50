"""Refused messages by device, minute, code and field, with a sample, instead of the limits that were
hit."""

import django.db.models.deletion
from django.db import migrations, models

# What limits refused is not kept: there are no installations yet.
TENANTS_BACK = "SELECT rollcall_isolate('ingest_limitbreach')"
TENANTS = "SELECT rollcall_isolate_back('ingest_limitbreach')"
POLICIES = "SELECT rollcall_isolate('ingest_refusal')"
POLICIES_BACK = "SELECT rollcall_isolate_back('ingest_refusal')"


class Migration(migrations.Migration):
    dependencies = (("ingest", "0004_joined_and_conflicts"), ("devices", "0002_roles"))

    operations = (
        migrations.RunSQL(TENANTS, TENANTS_BACK),
        migrations.DeleteModel(name="LimitBreach"),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "code",
                    models.CharField(
                        choices=[
                            ("tenant_rate", "tenant's rate"),
                            ("device_rate", "device's rate"),
                            ("backlog", "backlog"),
                            ("forbidden", "spoke for another device"),
                            ("invalid", "invalid"),
                            ("too_large", "too large"),
                            ("unsupported", "unsupported type"),
                            ("unknown_device", "unknown device"),
                            ("ignored", "value left out"),
                            ("revoked_key", "revoked key"),
                        ],
                        max_length=14,
                        verbose_name="reason",
                    ),
                ),
                (
                    "field",
                    models.CharField(
                        blank=True,
                        help_text="The field that is wrong; empty: the whole message, *: several "
                        "fields.",
                        max_length=80,
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("reason", models.CharField(max_length=400, verbose_name="why")),
                (
                    "sample",
                    models.TextField(
                        blank=True, help_text="The start of the last of these messages."
                    ),
                ),
                ("count", models.BigIntegerField(verbose_name="messages refused")),
                ("first_at", models.DateTimeField(verbose_name="first refusal")),
                ("last_at", models.DateTimeField(verbose_name="last refusal")),
                (
                    "device",
                    models.ForeignKey(
                        db_index=False,
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
                "db_table": "ingest_refusal",
                "ordering": ("-minute", "-last_at", "-id"),
                "indexes": [
                    models.Index(fields=["minute", "id"], name="refusal_minute"),
                    models.Index(fields=["device", "minute"], name="refusal_device"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "device", "minute", "code", "field"),
                        name="refusal_once_a_minute",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.RunSQL(POLICIES, POLICIES_BACK),
    )
