"""A rejected message that was corrected says so, instead of why it was rejected as it came."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("ingest", "0004_isolation"),)

    operations = (
        migrations.AlterField(
            model_name="rejectedmessage",
            name="reason",
            field=models.CharField(
                choices=[
                    ("pending_device", "device is not approved yet"),
                    ("unknown_device", "device does not exist any more"),
                    ("invalid_data", "the database refused it"),
                    ("corrected", "corrected"),
                ],
                max_length=16,
            ),
        ),
    )
