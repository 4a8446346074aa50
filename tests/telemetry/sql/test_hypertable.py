import subprocess
import sys
from datetime import timedelta

import pytest
from django.apps.registry import Apps
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, models

from telemetry.fields import HypertableTimeField
from telemetry.sql import hypertable
from telemetry.sql.hypertable import chunk_intervals_apply, chunk_intervals_check
from tests.services import own_environment


def define_metric(chunk: str, within: Apps) -> type[models.Model]:
    """A hypertable of an app other than telemetry."""

    class Metric(models.Model):
        pk = models.CompositePrimaryKey("name", "time")
        name = models.CharField(max_length=20)
        time = HypertableTimeField(chunk=chunk)

        class Meta:
            app_label = "monitoring"
            apps = within
            db_table = "monitoring_metric_of_a_test"

        def __str__(self) -> str:
            return self.name

    return Metric


def interval_of(table: str) -> timedelta:
    with connection.cursor() as cursor:
        found = {one.name: one.chunk_interval_s for one in hypertable.hypertables(cursor)}
    return timedelta(seconds=found[table])


def test_intervals_hold_for_hypertables_of_every_app(db: None, settings: LazySettings) -> None:
    settings.CHUNK_INTERVALS = {**settings.CHUNK_INTERVALS, "metric": "3 hours"}
    with connection.schema_editor() as editor:
        editor.create_model(define_metric("metric", Apps(["monitoring"])))
    assert interval_of("monitoring_metric_of_a_test") == timedelta(hours=3)

    settings.CHUNK_INTERVALS["metric"] = "1 hour"
    apps = Apps(["monitoring"])
    define_metric("metric", apps)
    chunk_intervals_apply(apps=apps)

    assert interval_of("monitoring_metric_of_a_test") == timedelta(hours=1)


def test_a_name_that_is_no_hypertable_is_refused_in_words(settings: LazySettings) -> None:
    settings.CHUNK_INTERVALS = {**settings.CHUNK_INTERVALS, "heartbeats": "1 hour"}

    with pytest.raises(ImproperlyConfigured) as refused:
        chunk_intervals_check()

    assert str(refused.value) == (
        "CHUNK_INTERVALS names heartbeats, which is not a hypertable; use one of: "
        "heartbeat, presenceevent, reading."
    )


def test_such_a_name_stops_every_process_at_its_start() -> None:
    start = (
        "from config import settings; settings.CHUNK_INTERVALS['heartbeats'] = '1 hour'; "
        "import django; django.setup()"
    )
    environment = {**own_environment(), "DJANGO_SETTINGS_MODULE": "config.settings"}
    started = subprocess.run(
        [sys.executable, "-c", start], env=environment, capture_output=True, text=True
    )

    assert started.returncode == 1
    assert "CHUNK_INTERVALS names heartbeats, which is not a hypertable" in started.stderr


def test_a_hypertable_without_an_interval_is_refused_in_words() -> None:
    with pytest.raises(ImproperlyConfigured, match="CHUNK_INTERVALS has no interval for metric"):
        define_metric("metric", Apps(["monitoring"]))


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
