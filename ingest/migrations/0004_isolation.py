"""What happened at the door by policies; people ask for a replay, and the worker does it."""

from django.db import migrations, models

ISOLATE = """
SELECT rollcall_isolate('ingest_ledgerminute');
SELECT rollcall_isolate('ingest_rejectedmessage');
SELECT rollcall_isolate('ingest_limitbreach');
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest_drainposition TO rollcall_worker;
GRANT SELECT ON ingest_drainposition TO rollcall_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest_ledgercheck TO rollcall_worker;
GRANT SELECT ON ingest_ledgercheck TO rollcall_tenant, rollcall_operator, rollcall_web;
"""
ISOLATE_BACK = """
REVOKE ALL ON ingest_ledgercheck
    FROM rollcall_tenant, rollcall_operator, rollcall_web, rollcall_worker;
REVOKE ALL ON ingest_drainposition FROM rollcall_worker, rollcall_operator;
SELECT rollcall_isolate_back('ingest_limitbreach');
SELECT rollcall_isolate_back('ingest_rejectedmessage');
SELECT rollcall_isolate_back('ingest_ledgerminute');
"""


class Migration(migrations.Migration):
    dependencies = (
        ("ingest", "0003_limit_breaches"),
        ("devices", "0006_isolation"),
    )

    operations = (
        migrations.AddField(
            model_name="rejectedmessage",
            name="replay_requested_by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Empty: nobody waits.",
                max_length=150,
            ),
        ),
        migrations.AddIndex(
            model_name="rejectedmessage",
            index=models.Index(
                condition=models.Q(("replay_requested_by", ""), _negated=True),
                fields=["replay_requested_by"],
                name="rejected_requested",
            ),
        ),
        migrations.RunSQL(ISOLATE, ISOLATE_BACK),
    )
