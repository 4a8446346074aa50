"""Groups of devices, and limits on how many messages a tenant and its devices may send."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0004_enrolmenttoken"),
    ]

    operations = [
        migrations.AddField(
            model_name="device",
            name="burst",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Messages that may come at once. Empty: what may come in one second.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000000),
                ],
            ),
        ),
        migrations.AddField(
            model_name="device",
            name="rate_per_s",
            field=models.FloatField(
                blank=True,
                help_text="In the long run. Empty: the tenant's limit for each of its devices.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.001),
                    django.core.validators.MaxValueValidator(1000000),
                ],
                verbose_name="messages a second",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="burst",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Messages that may come at once. Empty: what may come in one second.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000000),
                ],
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="device_burst",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Messages that may come at once. Empty: what may come in one second.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000000),
                ],
                verbose_name="burst of a device",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="device_rate_per_s",
            field=models.FloatField(
                blank=True,
                help_text="Of each device that has no limit of its own. Empty: no limit.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.001),
                    django.core.validators.MaxValueValidator(1000000),
                ],
                verbose_name="messages a second of a device",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="rate_per_s",
            field=models.FloatField(
                blank=True,
                help_text="Of all its devices together, in the long run. Empty: no limit.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.001),
                    django.core.validators.MaxValueValidator(1000000),
                ],
                verbose_name="messages a second",
            ),
        ),
        migrations.CreateModel(
            name="DeviceGroup",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "description",
                    models.CharField(
                        blank=True,
                        help_text="What its devices have in common. Optional.",
                        max_length=500,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="device_groups",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "group",
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="device",
            name="group",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="devices",
                to="devices.devicegroup",
            ),
        ),
        migrations.AddField(
            model_name="enrolmenttoken",
            name="group",
            field=models.ForeignKey(
                blank=True,
                help_text="The group that its devices join. Optional.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="devices.devicegroup",
            ),
        ),
        migrations.AddConstraint(
            model_name="devicegroup",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name"), name="group_name_once_a_tenant"
            ),
        ),
    ]
