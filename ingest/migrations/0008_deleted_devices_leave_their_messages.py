"""A device that is deleted leaves its rejected messages alone; nothing changes in the database.

A deletion had the status locked and waited for the messages, and a replay the other way round.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("ingest", "0007_shards_seen"),)

    operations = (
        migrations.AlterField(
            model_name="rejectedmessage",
            name="device",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="devices.device",
            ),
        ),
    )
