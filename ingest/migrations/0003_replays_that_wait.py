"""How often the replay of a rejected message failed, and when it is tried again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("ingest", "0002_policies"),)

    operations = (
        migrations.AddField(
            model_name="rejectedmessage",
            name="replay_failures",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="How often the replay has failed since it was requested.",
            ),
        ),
        migrations.AddField(
            model_name="rejectedmessage",
            name="replay_due_at",
            field=models.DateTimeField(
                help_text="When a failed replay is tried again; empty: at once.",
                null=True,
            ),
        ),
    )
