"""Every change of what belongs to a tenant is kept, as an event that triggers write.

Written by makemigrations (devices.tracking says what is kept), but for the order: each model's
events, then its triggers.
"""

import django.core.validators
import django.db.models.deletion
import pghistory.utils
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0004_doors"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TenantEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                ("name", models.CharField(max_length=120)),
                (
                    "slug",
                    models.SlugField(
                        db_index=False, help_text="Used in MQTT topics and URLs.", max_length=63
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
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="tenant_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="tenant_event_at"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_tenantevent" ("burst", "created_at", "default_grace_s", "default_interval_s", "device_burst", "device_limit", "device_rate_per_s", "id", "is_active", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "rate_per_s", "registration", "slug") VALUES (NEW."burst", NEW."created_at", NEW."default_grace_s", NEW."default_interval_s", NEW."device_burst", NEW."device_limit", NEW."device_rate_per_s", NEW."id", NEW."is_active", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."rate_per_s", NEW."registration", NEW."slug"); RETURN NULL;',
                    hash="ad0458173ae9bbeee9d596f3324f8c1eb0947573",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_608b7",
                    table="devices_tenant",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "devices_tenantevent" ("burst", "created_at", "default_grace_s", "default_interval_s", "device_burst", "device_limit", "device_rate_per_s", "id", "is_active", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "rate_per_s", "registration", "slug") VALUES (NEW."burst", NEW."created_at", NEW."default_grace_s", NEW."default_interval_s", NEW."device_burst", NEW."device_limit", NEW."device_rate_per_s", NEW."id", NEW."is_active", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."rate_per_s", NEW."registration", NEW."slug"); RETURN NULL;',
                    hash="46c9e2d7953396e70df351c4d8d5d5d3820ae551",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_a8206",
                    table="devices_tenant",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_tenantevent" ("burst", "created_at", "default_grace_s", "default_interval_s", "device_burst", "device_limit", "device_rate_per_s", "id", "is_active", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "rate_per_s", "registration", "slug") VALUES (OLD."burst", OLD."created_at", OLD."default_grace_s", OLD."default_interval_s", OLD."device_burst", OLD."device_limit", OLD."device_rate_per_s", OLD."id", OLD."is_active", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."rate_per_s", OLD."registration", OLD."slug"); RETURN NULL;',
                    hash="fd96cc636df32687dd5253258db2611d9e989f5a",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_f617c",
                    table="devices_tenant",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="MembershipEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
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
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.membership",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="membership_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="membership_event_at"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="membership",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_membershipevent" ("created_at", "id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "role", "tenant_id", "user_id") VALUES (NEW."created_at", NEW."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."role", NEW."tenant_id", NEW."user_id"); RETURN NULL;',
                    hash="6f13586a64c9063101073d85b6be56cf6e61c531",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_66589",
                    table="devices_membership",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="membership",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "devices_membershipevent" ("created_at", "id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "role", "tenant_id", "user_id") VALUES (NEW."created_at", NEW."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."role", NEW."tenant_id", NEW."user_id"); RETURN NULL;',
                    hash="286ecb2d275ff2f63d77d0bef6c76a1118d2d0e6",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_de21d",
                    table="devices_membership",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="membership",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_membershipevent" ("created_at", "id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "role", "tenant_id", "user_id") VALUES (OLD."created_at", OLD."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."role", OLD."tenant_id", OLD."user_id"); RETURN NULL;',
                    hash="500ae520449a83fb06421d9887b59f9aeeb8d940",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_76a06",
                    table="devices_membership",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="InvitationEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
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
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.invitation",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="invitation_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="invitation_event_at"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invitation",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_invitationevent" ("accepted_at", "accepted_by_id", "created_at", "email", "expires_at", "id", "invited_by_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "revoked_at", "role", "tenant_id") VALUES (NEW."accepted_at", NEW."accepted_by_id", NEW."created_at", NEW."email", NEW."expires_at", NEW."id", NEW."invited_by_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."revoked_at", NEW."role", NEW."tenant_id"); RETURN NULL;',
                    hash="a95cb9eabffab91167afbb26e1d6a5f78fb0db2d",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_4045e",
                    table="devices_invitation",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invitation",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."accepted_at" IS DISTINCT FROM (NEW."accepted_at") OR OLD."accepted_by_id" IS DISTINCT FROM (NEW."accepted_by_id") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."email" IS DISTINCT FROM (NEW."email") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."invited_by_id" IS DISTINCT FROM (NEW."invited_by_id") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."role" IS DISTINCT FROM (NEW."role") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "devices_invitationevent" ("accepted_at", "accepted_by_id", "created_at", "email", "expires_at", "id", "invited_by_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "revoked_at", "role", "tenant_id") VALUES (NEW."accepted_at", NEW."accepted_by_id", NEW."created_at", NEW."email", NEW."expires_at", NEW."id", NEW."invited_by_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."revoked_at", NEW."role", NEW."tenant_id"); RETURN NULL;',
                    hash="4be5fcef027be5460656bf21848582ee9ce8e176",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_2aba2",
                    table="devices_invitation",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invitation",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_invitationevent" ("accepted_at", "accepted_by_id", "created_at", "email", "expires_at", "id", "invited_by_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "revoked_at", "role", "tenant_id") VALUES (OLD."accepted_at", OLD."accepted_by_id", OLD."created_at", OLD."email", OLD."expires_at", OLD."id", OLD."invited_by_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."revoked_at", OLD."role", OLD."tenant_id"); RETURN NULL;',
                    hash="deb4975717799ebe1682743aee155f6eb124c50f",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_e2067",
                    table="devices_invitation",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="SiteEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
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
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.site",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="site_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="site_event_at"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="site",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_siteevent" ("created_at", "id", "latitude_deg", "longitude_deg", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."created_at", NEW."id", NEW."latitude_deg", NEW."longitude_deg", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="a7722843744343d86dd4ecabf28c57c0ce64015e",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_c9e52",
                    table="devices_site",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="site",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "devices_siteevent" ("created_at", "id", "latitude_deg", "longitude_deg", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."created_at", NEW."id", NEW."latitude_deg", NEW."longitude_deg", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="27cd3c53def34320b91e03bbc8633e809974aff4",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_52691",
                    table="devices_site",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="site",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_siteevent" ("created_at", "id", "latitude_deg", "longitude_deg", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."created_at", OLD."id", OLD."latitude_deg", OLD."longitude_deg", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;',
                    hash="1cc5942ee4cf0ba5364aa4ee40087203b9936e78",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_53ae0",
                    table="devices_site",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="DeviceGroupEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
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
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.devicegroup",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="devicegroup_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="devicegroup_event_at"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="devicegroup",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_devicegroupevent" ("created_at", "description", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."created_at", NEW."description", NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="f59a8c9f13a21136dfeaa434a7bd060034dfeff7",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_d806b",
                    table="devices_devicegroup",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="devicegroup",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "devices_devicegroupevent" ("created_at", "description", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."created_at", NEW."description", NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="d0e562a32ed70ff107f86629ec54201f5d7d01bf",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_4a995",
                    table="devices_devicegroup",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="devicegroup",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_devicegroupevent" ("created_at", "description", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."created_at", OLD."description", OLD."id", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;',
                    hash="42ebc96093883f5554303652655aecbad643ffdb",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_3f8f9",
                    table="devices_devicegroup",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="DeviceEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
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
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.devicegroup",
                    ),
                ),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.site",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="device_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="device_event_at"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="device",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_deviceevent" ("burst", "created_at", "device_id", "expected_interval_s", "grace_s", "group_id", "id", "is_pending", "kind", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "rate_per_s", "site_id", "tenant_id") VALUES (NEW."burst", NEW."created_at", NEW."device_id", NEW."expected_interval_s", NEW."grace_s", NEW."group_id", NEW."id", NEW."is_pending", NEW."kind", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."rate_per_s", NEW."site_id", NEW."tenant_id"); RETURN NULL;',
                    hash="edbdbbdc73a5ab80d68235d52d443776ab3be1d6",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_33fc2",
                    table="devices_device",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="device",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "devices_deviceevent" ("burst", "created_at", "device_id", "expected_interval_s", "grace_s", "group_id", "id", "is_pending", "kind", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "rate_per_s", "site_id", "tenant_id") VALUES (NEW."burst", NEW."created_at", NEW."device_id", NEW."expected_interval_s", NEW."grace_s", NEW."group_id", NEW."id", NEW."is_pending", NEW."kind", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."rate_per_s", NEW."site_id", NEW."tenant_id"); RETURN NULL;',
                    hash="876fefbf2588cc047421b70d3bf206b7f7e9ca57",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_605e9",
                    table="devices_device",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="device",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_deviceevent" ("burst", "created_at", "device_id", "expected_interval_s", "grace_s", "group_id", "id", "is_pending", "kind", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "rate_per_s", "site_id", "tenant_id") VALUES (OLD."burst", OLD."created_at", OLD."device_id", OLD."expected_interval_s", OLD."grace_s", OLD."group_id", OLD."id", OLD."is_pending", OLD."kind", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."rate_per_s", OLD."site_id", OLD."tenant_id"); RETURN NULL;',
                    hash="396c3cac31ae8269926d5ef69b72e30ba82e403e",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_2b7e6",
                    table="devices_device",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="CredentialEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("id", models.IntegerField()),
                (
                    "prefix",
                    models.CharField(
                        editable=False, help_text="The public part of the key.", max_length=12
                    ),
                ),
                ("label", models.CharField(blank=True, max_length=120)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "device",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.credential",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["pgh_obj", "pgh_id"], name="credential_event_of"),
                    models.Index(fields=["-pgh_created_at"], name="credential_event_at"),
                    models.Index(fields=["device"], name="credential_event_by"),
                ],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="credential",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_credentialevent" ("created_at", "device_id", "id", "label", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "tenant_id") VALUES (NEW."created_at", NEW."device_id", NEW."id", NEW."label", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."tenant_id"); RETURN NULL;',
                    hash="608dbc5799a6b243fba4ce02df497b156d3a5be5",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_d90e3",
                    table="devices_credential",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="credential",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."device_id" IS DISTINCT FROM (NEW."device_id") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."label" IS DISTINCT FROM (NEW."label") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "devices_credentialevent" ("created_at", "device_id", "id", "label", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "tenant_id") VALUES (NEW."created_at", NEW."device_id", NEW."id", NEW."label", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."tenant_id"); RETURN NULL;',
                    hash="acd7aa215dcd7b8afbf3adab647582577cab124e",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_51a2b",
                    table="devices_credential",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="credential",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "devices_credentialevent" ("created_at", "device_id", "id", "label", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "tenant_id") VALUES (OLD."created_at", OLD."device_id", OLD."id", OLD."label", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."prefix", OLD."revoked_at", OLD."tenant_id"); RETURN NULL;',
                    hash="b1d0f04a9f4fb3bb1b1bf9a3e1262c2c4e17a867",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_7042e",
                    table="devices_credential",
                    when="AFTER",
                ),
            ),
        ),
        migrations.CreateModel(
            name="HistoryEntry",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                (
                    "subject",
                    models.CharField(
                        choices=[
                            ("device", "Device"),
                            ("key", "Key"),
                            ("group", "Group"),
                            ("site", "Site"),
                            ("invitation", "Invitation"),
                            ("member", "Member"),
                            ("tenant", "Tenant"),
                        ],
                        max_length=10,
                    ),
                ),
                ("number", models.IntegerField()),
                ("object_id", models.IntegerField()),
                ("object_name", models.TextField()),
                ("of_device", models.IntegerField(null=True)),
                (
                    "change",
                    models.CharField(
                        choices=[
                            ("known", "existed before"),
                            ("insert", "added"),
                            ("update", "changed"),
                            ("delete", "removed"),
                        ],
                        max_length=8,
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="when")),
                ("who", models.TextField(verbose_name="person")),
                ("origin", models.JSONField(null=True)),
                ("data", models.JSONField()),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "change",
                "verbose_name_plural": "history",
                "db_table": "devices_history",
                "ordering": ("-at", "-number"),
                "managed": False,
            },
        ),
    ]
