"""When no device could be heard is known by itself, and not only as time that devices get more."""

from django.db import migrations, models

GRANTS = """
GRANT SELECT, INSERT, DELETE ON telemetry_presencebreak TO rollcall_worker;
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0008_reading_newest"),)

    operations = (
        migrations.CreateModel(
            name="PresenceBreak",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
            ],
            options={
                "db_table": "telemetry_presencebreak",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("until", "since"), name="presencebreak_is_known"
                    )
                ],
            },
        ),
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
    )
