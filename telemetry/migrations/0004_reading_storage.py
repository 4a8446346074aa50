"""Readings are found by their key; nothing asks for the time alone."""

from django.db import migrations

TIME_INDEX = "DROP INDEX telemetry_reading_time_idx"
TIME_INDEX_BACK = "CREATE INDEX telemetry_reading_time_idx ON telemetry_reading (time DESC)"


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0003_readings"),)

    operations = (migrations.RunSQL(TIME_INDEX, TIME_INDEX_BACK),)
