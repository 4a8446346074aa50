"""Groups and invitations are in the history, too; invitations without their tokens' hashes."""

import django.db.models.deletion
import pghistory.utils
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


ISOLATE = """
SELECT rollcall_isolate_history('devices_devicegroupevent');
SELECT rollcall_isolate_history('devices_invitationevent');
"""
ISOLATE_BACK = """
SELECT rollcall_isolate_back('devices_invitationevent');
SELECT rollcall_isolate_back('devices_devicegroupevent');
"""

# What is there already, so that its first change can say what was before.
KNOWN = """
INSERT INTO devices_devicegroupevent
    (pgh_created_at, pgh_label, pgh_obj_id, id, tenant_id, name, description, created_at)
SELECT now(), 'known', id, id, tenant_id, name, description, created_at FROM devices_devicegroup;

INSERT INTO devices_invitationevent
    (pgh_created_at, pgh_label, pgh_obj_id, id, tenant_id, email, role, invited_by_id, created_at,
     expires_at, accepted_at, accepted_by_id, revoked_at)
SELECT now(), 'known', id, id, tenant_id, email, role, invited_by_id, created_at, expires_at,
       accepted_at, accepted_by_id, revoked_at
FROM devices_invitation;
"""

# As in 0021_history_isolation, and two more.
VIEW = """
DROP VIEW devices_history;

CREATE VIEW devices_history WITH (security_invoker) AS
SELECT 'device-' || pgh_id AS id, 'device' AS subject, pgh_id AS number, pgh_obj_id AS object_id,
       device_id::text AS object_name, id AS of_device, tenant_id, pgh_label AS change,
       pgh_created_at AS at, devices_history_who(pgh_context) AS who, pgh_context AS origin,
       to_jsonb(event) AS data
FROM devices_deviceevent event
UNION ALL
SELECT 'key-' || pgh_id, 'key', pgh_id, pgh_obj_id, 'rc_' || prefix || '_…', device_id, tenant_id,
       pgh_label, pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_credentialevent event
UNION ALL
SELECT 'site-' || pgh_id, 'site', pgh_id, pgh_obj_id, name::text, NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_siteevent event
UNION ALL
SELECT 'member-' || pgh_id, 'member', pgh_id, pgh_obj_id,
       coalesce(person.username::text, 'person ' || event.user_id), NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_membershipevent event LEFT JOIN auth_user person ON person.id = event.user_id
UNION ALL
SELECT 'tenant-' || pgh_id, 'tenant', pgh_id, pgh_obj_id, name::text, NULL, id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_tenantevent event
UNION ALL
SELECT 'group-' || pgh_id, 'group', pgh_id, pgh_obj_id, name::text, NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_devicegroupevent event
UNION ALL
SELECT 'invitation-' || pgh_id, 'invitation', pgh_id, pgh_obj_id, email::text, NULL, tenant_id,
       pgh_label, pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_invitationevent event;

GRANT SELECT ON devices_history
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""
VIEW_BACK = """
DROP VIEW devices_history;

CREATE VIEW devices_history WITH (security_invoker) AS
SELECT 'device-' || pgh_id AS id, 'device' AS subject, pgh_id AS number, pgh_obj_id AS object_id,
       device_id::text AS object_name, id AS of_device, tenant_id, pgh_label AS change,
       pgh_created_at AS at, devices_history_who(pgh_context) AS who, pgh_context AS origin,
       to_jsonb(event) AS data
FROM devices_deviceevent event
UNION ALL
SELECT 'key-' || pgh_id, 'key', pgh_id, pgh_obj_id, 'rc_' || prefix || '_…', device_id, tenant_id,
       pgh_label, pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_credentialevent event
UNION ALL
SELECT 'site-' || pgh_id, 'site', pgh_id, pgh_obj_id, name::text, NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_siteevent event
UNION ALL
SELECT 'member-' || pgh_id, 'member', pgh_id, pgh_obj_id,
       coalesce(person.username::text, 'person ' || event.user_id), NULL, tenant_id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_membershipevent event LEFT JOIN auth_user person ON person.id = event.user_id
UNION ALL
SELECT 'tenant-' || pgh_id, 'tenant', pgh_id, pgh_obj_id, name::text, NULL, id, pgh_label,
       pgh_created_at, devices_history_who(pgh_context), pgh_context, to_jsonb(event)
FROM devices_tenantevent event;

GRANT SELECT ON devices_history
    TO rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0031_history_of_groups_and_limits'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DeviceGroupEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('pgh_context', pghistory.utils.JSONField(null=True)),
                ('id', models.IntegerField()),
                ('name', models.CharField(max_length=120)),
                ('description', models.CharField(blank=True, help_text='What its devices have in common. Optional.', max_length=500)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='InvitationEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('pgh_context', pghistory.utils.JSONField(null=True)),
                ('id', models.IntegerField()),
                ('email', models.EmailField(help_text='Where the link is sent.', max_length=254, verbose_name='e-mail')),
                ('role', models.CharField(choices=[('viewer', 'Viewer'), ('manager', 'Manager'), ('owner', 'Owner')], default='viewer', max_length=8)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(editable=False, verbose_name='expires')),
                ('accepted_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='accepted')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='revoked')),
            ],
            options={
                'abstract': False,
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='devicegroup',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "devices_devicegroupevent" ("created_at", "description", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."created_at", NEW."description", NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;', hash='f59a8c9f13a21136dfeaa434a7bd060034dfeff7', operation='INSERT', pgid='pgtrigger_insert_insert_d806b', table='devices_devicegroup', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='devicegroup',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "devices_devicegroupevent" ("created_at", "description", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."created_at", NEW."description", NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;', hash='d0e562a32ed70ff107f86629ec54201f5d7d01bf', operation='UPDATE', pgid='pgtrigger_update_update_4a995', table='devices_devicegroup', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='devicegroup',
            trigger=pgtrigger.compiler.Trigger(name='delete_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "devices_devicegroupevent" ("created_at", "description", "id", "name", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."created_at", OLD."description", OLD."id", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;', hash='42ebc96093883f5554303652655aecbad643ffdb', operation='DELETE', pgid='pgtrigger_delete_delete_3f8f9', table='devices_devicegroup', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='invitation',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "devices_invitationevent" ("accepted_at", "accepted_by_id", "created_at", "email", "expires_at", "id", "invited_by_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "revoked_at", "role", "tenant_id") VALUES (NEW."accepted_at", NEW."accepted_by_id", NEW."created_at", NEW."email", NEW."expires_at", NEW."id", NEW."invited_by_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'insert\', NEW."id", NEW."revoked_at", NEW."role", NEW."tenant_id"); RETURN NULL;', hash='a95cb9eabffab91167afbb26e1d6a5f78fb0db2d', operation='INSERT', pgid='pgtrigger_insert_insert_4045e', table='devices_invitation', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='invitation',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."accepted_at" IS DISTINCT FROM (NEW."accepted_at") OR OLD."accepted_by_id" IS DISTINCT FROM (NEW."accepted_by_id") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."email" IS DISTINCT FROM (NEW."email") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."invited_by_id" IS DISTINCT FROM (NEW."invited_by_id") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."role" IS DISTINCT FROM (NEW."role") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))', func='INSERT INTO "devices_invitationevent" ("accepted_at", "accepted_by_id", "created_at", "email", "expires_at", "id", "invited_by_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "revoked_at", "role", "tenant_id") VALUES (NEW."accepted_at", NEW."accepted_by_id", NEW."created_at", NEW."email", NEW."expires_at", NEW."id", NEW."invited_by_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'update\', NEW."id", NEW."revoked_at", NEW."role", NEW."tenant_id"); RETURN NULL;', hash='4be5fcef027be5460656bf21848582ee9ce8e176', operation='UPDATE', pgid='pgtrigger_update_update_2aba2', table='devices_invitation', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='invitation',
            trigger=pgtrigger.compiler.Trigger(name='delete_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "devices_invitationevent" ("accepted_at", "accepted_by_id", "created_at", "email", "expires_at", "id", "invited_by_id", "pgh_context", "pgh_created_at", "pgh_label", "pgh_obj_id", "revoked_at", "role", "tenant_id") VALUES (OLD."accepted_at", OLD."accepted_by_id", OLD."created_at", OLD."email", OLD."expires_at", OLD."id", OLD."invited_by_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, NOW(), \'delete\', OLD."id", OLD."revoked_at", OLD."role", OLD."tenant_id"); RETURN NULL;', hash='deb4975717799ebe1682743aee155f6eb124c50f', operation='DELETE', pgid='pgtrigger_delete_delete_e2067', table='devices_invitation', when='AFTER')),
        ),
        migrations.AddField(
            model_name='devicegroupevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='devices.devicegroup'),
        ),
        migrations.AddField(
            model_name='devicegroupevent',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='devices.tenant'),
        ),
        migrations.AddField(
            model_name='invitationevent',
            name='accepted_by',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='invitationevent',
            name='invited_by',
            field=models.ForeignKey(db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='invitationevent',
            name='pgh_obj',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='devices.invitation'),
        ),
        migrations.AddField(
            model_name='invitationevent',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='devices.tenant'),
        ),
        migrations.AddIndex(
            model_name='devicegroupevent',
            index=models.Index(fields=['pgh_obj', 'pgh_id'], name='devicegroup_event_of'),
        ),
        migrations.AddIndex(
            model_name='devicegroupevent',
            index=models.Index(fields=['-pgh_created_at'], name='devicegroup_event_at'),
        ),
        migrations.AddIndex(
            model_name='invitationevent',
            index=models.Index(fields=['pgh_obj', 'pgh_id'], name='invitation_event_of'),
        ),
        migrations.AddIndex(
            model_name='invitationevent',
            index=models.Index(fields=['-pgh_created_at'], name='invitation_event_at'),
        ),
        migrations.RunSQL(ISOLATE, ISOLATE_BACK),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RunSQL(VIEW, VIEW_BACK),
    ]
