"""Time in which nobody listened is excused once, up to a moment that is known."""

from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0008_reading_newest"),)

    operations = (
        migrations.AddField(
            "presencesweep", "excused_until", models.DateTimeField(default=timezone.now)
        ),
    )
