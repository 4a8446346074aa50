"""What the history says about rows, and a change for it to record."""

from typing import Any

from django.test import Client

from devices.audit.history import SUBJECTS, lines_of
from devices.models import (
    HistoryEntry,
)
from tests.admin import page
from tests.conftest import Fleet

CHANGES = page("devices_historyentry_changelist")


def changes_of(row: Any) -> list[HistoryEntry]:
    """The row's changes, oldest first."""
    subject = SUBJECTS[type(row)]
    return list(HistoryEntry.objects.filter(subject=subject, object_id=row.pk).order_by("number"))


def words(entry: HistoryEntry) -> str:
    (line,) = lines_of([entry])
    parts = (
        f"{one.field}: {one.after}"
        if one.before is None
        else f"{one.field}: {one.before} → {one.after}"
        for one in line.differences
    )
    return f"{line.what}; {', '.join(parts)}"


def edit(client: Client, fleet: Fleet, **fields: Any) -> Any:
    values = {
        "device_id": fleet.device.device_id,
        "name": "",
        "kind": "phone",
        "site": "",
        "credentials-TOTAL_FORMS": 0,
        "credentials-INITIAL_FORMS": 0,
    }
    url = page("devices_device_change", fleet.device.pk)
    return client.post(url, values | fields, REMOTE_ADDR="10.0.0.7")
