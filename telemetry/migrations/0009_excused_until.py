"""Time in which nobody listened is excused once, up to a moment that is known.

The last sweep is that moment of an installation that is being upgraded: the stop for the upgrade
itself is still to be excused.
"""

from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0008_reading_newest"),)

    operations = (
        migrations.AddField(
            "presencesweep", "excused_until", models.DateTimeField(default=timezone.now)
        ),
        migrations.RunSQL(
            "UPDATE telemetry_presencesweep SET excused_until = swept_at", migrations.RunSQL.noop
        ),
    )
