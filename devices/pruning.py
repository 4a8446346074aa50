"""Deletes old rows in small steps, so that nothing has to wait for a long transaction."""

from datetime import datetime
from typing import Any

from django.db.models import Model

STEP = 5000


def rows_prune(model: type[Model], *, field: str, before: datetime) -> int:
    """Deletes the rows whose `field` is earlier than `before`, oldest first; returns how many."""
    rows: Any = model._default_manager
    count = 0
    while True:
        oldest = rows.filter(**{f"{field}__lt": before}).order_by(field)[:STEP]
        deleted, _ = rows.filter(pk__in=oldest.values("pk")).delete()
        count += deleted
        if deleted < STEP:
            return count
