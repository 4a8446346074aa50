"""Beat's schedule: what the settings say, and what operators add under Periodic tasks."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

log = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):
    """Ends with an error if an entry cannot be written, so that whoever keeps beat running starts
    it again. The library's goes on without the entry: with the database away for a moment as beat
    starts on an empty one, nothing was drained until somebody looked.

    With the database away later on it goes on with the schedule that it has: the library's ends,
    if it happens to read all of it just then, as it does every five minutes."""

    def setup_schedule(self) -> None:
        """Also forgets the drains of shards that INGEST_SHARDS does not have any more."""
        drains = PeriodicTask.objects.filter(task="ingest.drain_run")
        drains.exclude(name__in=self.app.conf.beat_schedule).delete()
        super().setup_schedule()

    def update_from_dict(self, mapping: Mapping[str, Mapping[str, Any]]) -> None:
        entries = {
            name: self.Entry.from_entry(name, app=self.app, **fields)
            for name, fields in mapping.items()
        }
        self.schedule.update({n: one for n, one in entries.items() if one.model.enabled})

    def all_as_schedule(self) -> dict[str, Any]:
        try:
            read: dict[str, Any] = super().all_as_schedule()
        except (OperationalError, InterfaceError) as error:
            if self._schedule is None:
                raise
            log.warning("the schedule is kept as it is, and read again: %s", error)
            self._last_full_sync = datetime.min
            return self._schedule
        return read
