"""A heartbeat that waited longer than a later reading is still the latest heartbeat."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0005_isolation"),)

    operations = (
        migrations.AddField("devicestatus", "last_heartbeat_at", models.DateTimeField(null=True)),
    )
