from datetime import timedelta

from django.db import connection


def test_hypertables_keep_their_keys_and_have_the_intervals_of_the_settings(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT hypertable_name, time_interval FROM timescaledb_information.dimensions "
            "ORDER BY 1"
        )
        intervals = dict(cursor.fetchall())
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = 'telemetry_heartbeat'::regclass AND contype = 'p'"
        )
        (key,) = cursor.fetchone()

    assert intervals == {
        "telemetry_heartbeat": timedelta(days=1),
        "telemetry_presenceevent": timedelta(days=7),
        "telemetry_reading": timedelta(days=1),
    }
    assert key == "PRIMARY KEY (device_id, bucket)"
