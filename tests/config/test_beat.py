from datetime import datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django_celery_beat.models import PeriodicTask

from config.beat import Scheduler
from config.celery import app

pytestmark = pytest.mark.django_db(transaction=True)
ENTRY = {"task": "ingest.drain_run", "schedule": timedelta(seconds=2), "kwargs": {"shard": 7}}


def test_what_the_settings_say_is_written_and_due() -> None:
    scheduler = Scheduler(app=app, lazy=True)

    scheduler.update_from_dict({"ingest.drain_run.7": ENTRY})

    assert scheduler.schedule["ingest.drain_run.7"].task == "ingest.drain_run"
    assert PeriodicTask.objects.get(name="ingest.drain_run.7").kwargs == '{"shard": 7}'


def test_the_drain_of_a_shard_that_is_no_more_is_forgotten() -> None:
    Scheduler(app=app, lazy=True).update_from_dict({"ingest.drain_run.7": ENTRY})

    scheduler = Scheduler(app=app)

    assert "ingest.drain_run.7" not in scheduler.schedule
    drains = PeriodicTask.objects.filter(task="ingest.drain_run").order_by("name")
    assert [one.name for one in drains] == ["ingest.drain_run.0", "ingest.drain_run.1"]


def refuse(execute: object, sql: str, *others: object) -> None:
    raise OperationalError(f"the server closed the connection: {sql}")


def test_an_entry_that_cannot_be_written_ends_beat() -> None:
    scheduler = Scheduler(app=app, lazy=True)

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        scheduler.update_from_dict({"ingest.drain_run.7": ENTRY})


def test_the_schedule_is_kept_while_the_database_is_away_and_read_again() -> None:
    scheduler = Scheduler(app=app)
    known = dict(scheduler.schedule)
    long_ago = datetime.now() - timedelta(minutes=6)

    scheduler._last_full_sync = long_ago  # as the full read every five minutes does
    with connection.execute_wrapper(refuse):
        assert dict(scheduler.schedule) == known != {}

    # Bypasses the library, which would record the change.
    PeriodicTask.objects.filter(name="ingest.drain_run.0").update(enabled=False)
    assert known.keys() - scheduler.schedule.keys() == {"ingest.drain_run.0"}
