"""A heartbeat that waited longer than a later reading is still the latest heartbeat."""

from django.db import migrations, models

# What is known is taken for as new as it can be, so that no older heartbeat replaces it.
KNOWN = "UPDATE telemetry_devicestatus SET last_heartbeat_at = last_seen"


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0005_isolation"),)

    operations = (
        migrations.AddField("devicestatus", "last_heartbeat_at", models.DateTimeField(null=True)),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
    )
