"""The tables for tenants, people, sites, devices and keys, in the order of the models.

Events and the view over them are in 0005_history and 0006_history_of_tenants.
"""

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("axes", "0010_accessattemptexpiration"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Tenant",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "slug",
                    models.SlugField(
                        help_text="Used in MQTT topics and URLs.", max_length=63, unique=True
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="The devices of an inactive tenant are refused.",
                        verbose_name="active",
                    ),
                ),
                (
                    "default_interval_s",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Seconds between two heartbeats, for devices without an interval of their own.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(604800),
                        ],
                        verbose_name="default interval",
                    ),
                ),
                (
                    "default_grace_s",
                    models.PositiveIntegerField(
                        default=30,
                        help_text="How many seconds late a heartbeat may be before its device counts as late.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(604800),
                        ],
                        verbose_name="default grace",
                    ),
                ),
                (
                    "registration",
                    models.CharField(
                        choices=[
                            ("off", "off: refuse its messages"),
                            (
                                "pending",
                                "pending: add it, and hold its messages until somebody approves it",
                            ),
                            ("on", "on: add it"),
                        ],
                        db_default="off",
                        default="off",
                        help_text="What to do when a gateway speaks for a device that nobody has added.",
                        max_length=8,
                    ),
                ),
                (
                    "device_limit",
                    models.PositiveIntegerField(
                        db_default=10000,
                        default=10000,
                        help_text="At this many devices, no more can add themselves.",
                    ),
                ),
                (
                    "rate_per_s",
                    models.FloatField(
                        blank=True,
                        help_text="For all its devices together, in the long run. Empty: no limit.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.001),
                            django.core.validators.MaxValueValidator(1000000),
                        ],
                        verbose_name="messages a second",
                    ),
                ),
                (
                    "burst",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="How many messages may arrive at once before the limit slows the device down. Empty: as many as may arrive in one second.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(10000000),
                        ],
                    ),
                ),
                (
                    "device_rate_per_s",
                    models.FloatField(
                        blank=True,
                        help_text="For each device without a limit of its own. Empty: no limit.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.001),
                            django.core.validators.MaxValueValidator(1000000),
                        ],
                        verbose_name="messages a second per device",
                    ),
                ),
                (
                    "device_burst",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="How many messages may arrive at once before the limit slows the device down. Empty: as many as may arrive in one second.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(10000000),
                        ],
                        verbose_name="burst per device",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[("viewer", "Viewer"), ("manager", "Manager"), ("owner", "Owner")],
                        default="viewer",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to="devices.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "user"), name="membership_once_a_tenant"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "email",
                    models.EmailField(
                        help_text="Where the link is sent.", max_length=254, verbose_name="e-mail"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[("viewer", "Viewer"), ("manager", "Manager"), ("owner", "Owner")],
                        default="viewer",
                        max_length=8,
                    ),
                ),
                ("token_sha256", models.BinaryField(max_length=32, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(editable=False, verbose_name="expires")),
                (
                    "accepted_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="accepted"
                    ),
                ),
                (
                    "revoked_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="revoked"
                    ),
                ),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "ordering": ("-created_at",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        fields=("tenant", "email"),
                        name="invitation_open_once",
                        violation_error_message="This address is already invited: send that invitation again, or revoke it first.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Site",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "latitude_deg",
                    models.FloatField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-90),
                            django.core.validators.MaxValueValidator(90),
                        ],
                        verbose_name="latitude",
                    ),
                ),
                (
                    "longitude_deg",
                    models.FloatField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-180),
                            django.core.validators.MaxValueValidator(180),
                        ],
                        verbose_name="longitude",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sites",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "name"), name="site_name_once_a_tenant"
                    )
                ],
            },
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "name"), name="group_name_once_a_tenant"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Device",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "device_id",
                    models.CharField(
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}\\Z",
                                "Use 1 to 64 letters, digits and . _ : @ - and begin with a letter or a digit.",
                            )
                        ],
                        verbose_name="device ID",
                    ),
                ),
                (
                    "name",
                    models.CharField(blank=True, help_text="What people call it.", max_length=120),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("phone", "Phone"),
                            ("probe", "Probe"),
                            ("gateway", "Gateway"),
                            ("sensor", "Sensor"),
                        ],
                        default="sensor",
                        max_length=8,
                    ),
                ),
                (
                    "expected_interval_s",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Seconds between two heartbeats. Empty: the tenant's default.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(604800),
                        ],
                        verbose_name="expected interval",
                    ),
                ),
                (
                    "grace_s",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="How many seconds late a heartbeat may be. Empty: the tenant's default.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(604800),
                        ],
                        verbose_name="grace",
                    ),
                ),
                (
                    "rate_per_s",
                    models.FloatField(
                        blank=True,
                        help_text="In the long run. Empty: the tenant's limit per device.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.001),
                            django.core.validators.MaxValueValidator(1000000),
                        ],
                        verbose_name="messages a second",
                    ),
                ),
                (
                    "burst",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="How many messages may arrive at once before the limit slows the device down. Empty: as many as may arrive in one second.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(10000000),
                        ],
                    ),
                ),
                (
                    "is_pending",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        editable=False,
                        help_text="It added itself; its messages are held until somebody approves it.",
                        verbose_name="waits for approval",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="devices",
                        to="devices.devicegroup",
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="devices",
                        to="devices.site",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="devices",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("tenant", "device_id"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "device_id"),
                        name="device_id_once_a_tenant",
                        violation_error_message="This tenant already has a device with this device ID.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Credential",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "prefix",
                    models.CharField(
                        editable=False,
                        help_text="The public part of the key.",
                        max_length=12,
                        unique=True,
                    ),
                ),
                ("secret_sha256", models.BinaryField(max_length=32)),
                (
                    "mqtt_password_hash",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="Hash of the whole key in mosquitto's format; empty for older keys.",
                        max_length=128,
                    ),
                ),
                ("label", models.CharField(blank=True, max_length=120)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "device",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="credentials",
                        to="devices.device",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "key",
                "ordering": ("-created_at",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("revoked_at", None)),
                        fields=["device"],
                        name="credential_in_force",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EnrolmentToken",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "label",
                    models.CharField(
                        blank=True,
                        help_text="What the token is for. Only staff see it.",
                        max_length=120,
                    ),
                ),
                (
                    "prefix",
                    models.CharField(
                        editable=False,
                        help_text="The public part of the token.",
                        max_length=12,
                        unique=True,
                    ),
                ),
                ("secret_sha256", models.BinaryField(max_length=32)),
                (
                    "max_uses",
                    models.PositiveIntegerField(
                        default=1,
                        help_text="How many devices may enrol with it.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100000),
                        ],
                        verbose_name="devices",
                    ),
                ),
                (
                    "uses_left",
                    models.PositiveIntegerField(editable=False, verbose_name="uses left"),
                ),
                ("expires_at", models.DateTimeField(help_text="In UTC.", verbose_name="expires")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="The group that its devices join. Optional.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="devices.devicegroup",
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        help_text="Where its devices stand. Optional.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="devices.site",
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
                "verbose_name": "enrolment token",
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="OperatorAccess",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("username", models.CharField(max_length=150)),
                ("method", models.CharField(max_length=8)),
                ("path", models.CharField(max_length=500)),
                ("address", models.GenericIPAddressField(null=True)),
                ("at", models.DateTimeField(auto_now_add=True, verbose_name="when")),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "operator audit log",
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["at"], name="operator_access_at")],
            },
        ),
        migrations.CreateModel(
            name="FailedSignIn",
            fields=[],
            options={
                "verbose_name": "failed sign-in",
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("axes.accessattempt",),
        ),
    ]
