"""How the tables are stored on disk."""

from django.db import migrations

# Each heartbeat and reading updates its device's status. With room left in each page the new
# version of the row stays there, and as long as no indexed column changes, no index is touched.
FILLFACTOR = "ALTER TABLE telemetry_devicestatus SET (fillfactor = 70)"
FILLFACTOR_BACK = "ALTER TABLE telemetry_devicestatus RESET (fillfactor)"

# create_hypertable adds an index on the time alone. Heartbeats and readings are found by their
# keys, which begin with the device; no query uses the time alone.
TIME_INDEXES = """
DROP INDEX telemetry_heartbeat_bucket_idx;
DROP INDEX telemetry_reading_time_idx;
"""
TIME_INDEXES_BACK = """
CREATE INDEX telemetry_reading_time_idx ON telemetry_reading (time DESC);
CREATE INDEX telemetry_heartbeat_bucket_idx ON telemetry_heartbeat (bucket DESC);
"""


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0002_status_rows"),)

    operations = (
        migrations.RunSQL(FILLFACTOR, FILLFACTOR_BACK),
        migrations.RunSQL(TIME_INDEXES, TIME_INDEXES_BACK),
    )
