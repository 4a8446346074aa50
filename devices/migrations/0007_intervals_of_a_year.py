"""Intervals may be as long as 366 days."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0006_history_of_tenants"),
    ]

    operations = [
        migrations.AlterField(
            model_name="device",
            name="expected_interval_s",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Seconds between two heartbeats. Empty: the tenant's default.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(31622400),
                ],
                verbose_name="expected interval",
            ),
        ),
        migrations.AlterField(
            model_name="deviceevent",
            name="expected_interval_s",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Seconds between two heartbeats. Empty: the tenant's default.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(31622400),
                ],
                verbose_name="expected interval",
            ),
        ),
        migrations.AlterField(
            model_name="tenant",
            name="default_interval_s",
            field=models.PositiveIntegerField(
                default=60,
                help_text="Seconds between two heartbeats, for devices without an interval of their own.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(31622400),
                ],
                verbose_name="default interval",
            ),
        ),
        migrations.AlterField(
            model_name="tenantevent",
            name="default_interval_s",
            field=models.PositiveIntegerField(
                default=60,
                help_text="Seconds between two heartbeats, for devices without an interval of their own.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(31622400),
                ],
                verbose_name="default interval",
            ),
        ),
    ]
