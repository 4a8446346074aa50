"""Messages that joined a stored row, and those that are in conflict with one."""

from django.db import migrations, models

REASONS = (
    ("pending_device", "device is not approved yet"),
    ("unknown_device", "device no longer exists"),
    ("invalid_data", "the database refused it"),
    ("conflict", "another value is stored"),
    ("too_wide", "too many names in one row"),
    ("corrected", "corrected"),
)


class Migration(migrations.Migration):
    dependencies = (("ingest", "0003_replays_that_wait"),)

    operations = (
        migrations.AddField(
            model_name="ledgerminute",
            name="joined",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="ledgerminute",
            name="conflict",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="rejectedmessage",
            name="is_conflict",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Counted in the ledger as a conflict, not as rejected.",
            ),
        ),
        migrations.AlterField(
            model_name="rejectedmessage",
            name="reason",
            field=models.CharField(choices=REASONS, max_length=16),
        ),
    )
