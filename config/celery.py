"""The Celery application. Beat's schedule stands in config.settings."""

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
    """A receiver here makes Celery leave the LOGGING setting alone."""


@worker_before_create_process.connect
def share_memory(**kwargs: Any) -> None:
    """What is loaded stays shared with the process to come: the collector would write to all of it
    and so make it copy 20 MB."""
    gc.collect()
    gc.freeze()


@task_prerun.connect
def drop_broken_connections(**kwargs: Any) -> None:
    """Since tasks share connections (CELERY_DB_REUSE_MAX), one that broke would stay for many."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()


@task_prerun.connect
def name_origin(task: Any, **kwargs: Any) -> None:
    """The history names the task as where its changes come from. After broken connections went."""
    from devices.http.origin import work_set

    work_set(task=task.name)


@task_prerun.connect
def note_alive(task: Any, **kwargs: Any) -> None:
    """A queue is alive as long as its tasks begin."""
    from monitoring.system.alive import alive_note

    if queue := (task.request.delivery_info or {}).get("routing_key"):
        alive_note(queue)


@beat_init.connect
def wait_for_turn(sender: Any, **kwargs: Any) -> None:
    """One beat at a time: a second one waits here until the first one is gone.

    The lock is only a courtesy. Should the connection be lost and two beat for a while, tasks run
    twice, and every one of them can be run twice.
    """
    from django.conf import settings

    from monitoring.system.alive import alive_keep_noted
    from telemetry.locks import NAMESPACE, AdvisoryLock

    # A connection of its own: the scheduler closes Django's as it pleases.
    sender.turn = psycopg.connect(settings.DATABASE_URL, autocommit=True)
    key = (NAMESPACE, AdvisoryLock.BEAT)
    if not sender.turn.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()[0]:
        logging.getLogger(__name__).warning("another beat is running; this one waits its turn")
        sender.turn.execute("SELECT pg_advisory_lock(%s, %s)", key)
    alive_keep_noted("beat")
