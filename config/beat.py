"""Beat's schedule: the settings' entries, which operators can switch off under Periodic tasks."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

log = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):
    """Raises if an entry cannot be written, so that the supervisor starts beat again.

    The library's scheduler continues without the entry: if the database was unavailable for a
    moment while beat first started, nothing was drained until somebody noticed.

    If the database becomes unavailable later, this scheduler keeps its schedule. The library's ends
    if that happens during its full read, every five minutes.
    """

    def setup_schedule(self) -> None:
        """Also deletes the entries of shards that INGEST_SHARDS no longer has."""
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
            log.warning("the schedule cannot be read, keeping the current one: %s", error)
            self._last_full_sync = datetime.min
            return self._schedule
        return read
