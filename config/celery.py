"""The Celery application. Beat's schedule is in config.settings."""

import gc
import logging
import os
from typing import Any

import psycopg
from celery import Celery
from celery.signals import beat_init, setup_logging, task_prerun, worker_before_create_process

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("rollcall")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**kwargs: Any) -> None:
    """Does nothing: having a receiver makes Celery leave the LOGGING setting alone."""


@worker_before_create_process.connect
def share_memory(**kwargs: Any) -> None:
    """Keeps loaded objects shared with the new process. Otherwise the garbage collector would write
    to all of them and so make the process copy 20 MB."""
    gc.collect()
    gc.freeze()


@task_prerun.connect
def drop_broken_connections(**kwargs: Any) -> None:
    """Closes broken connections, which later tasks would get: CELERY_DB_REUSE_MAX shares them."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()


@task_prerun.connect
def name_origin(task: Any, **kwargs: Any) -> None:
    """Makes the history name the task as the origin of its changes. Runs after broken connections
    are closed."""
    from devices.http.origin import work_set

    work_set(task=task.name)


@task_prerun.connect
def note_alive(task: Any, **kwargs: Any) -> None:
    """Records that the task's queue is alive."""
    from monitoring.system.alive import alive_note

    if queue := (task.request.delivery_info or {}).get("routing_key"):
        alive_note(queue)


@beat_init.connect
def wait_for_turn(sender: Any, **kwargs: Any) -> None:
    """Lets one beat run at a time: a second one waits here until the first has ended.

    The lock is not vital: if its connection is lost, two beats run for a while and tasks run twice,
    which every task allows.
    """
    from django.conf import settings

    from monitoring.system.alive import alive_keep_noted
    from telemetry.locks import NAMESPACE, AdvisoryLock

    # Not Django's connection, which the scheduler may close at any time.
    sender.turn = psycopg.connect(settings.DATABASE_URL, autocommit=True)
    key = (NAMESPACE, AdvisoryLock.BEAT)
    if not sender.turn.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()[0]:
        logging.getLogger(__name__).warning("another beat is running; this one waits its turn")
        sender.turn.execute("SELECT pg_advisory_lock(%s, %s)", key)
    alive_keep_noted("beat")
