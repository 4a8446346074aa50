"""When the last replay of a rejected message failed, and why."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("ingest", "0005_corrected_messages"),)

    operations = (
        migrations.AddField(
            model_name="rejectedmessage",
            name="replay_failed_at",
            field=models.DateTimeField(
                help_text="When its last replay failed; empty: none did.", null=True
            ),
        ),
        migrations.AddField(
            model_name="rejectedmessage",
            name="replay_error",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="Why its last replay failed, in words.",
            ),
        ),
    )
