"""The list of devices, and actions on selected rows."""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from telemetry.models import PresenceEvent
from tests.admin import confirmed, page

LIST = "devices_device_changelist"


def reasons_of(device: Device) -> list[tuple[str, str]]:
    events = PresenceEvent.objects.filter(device=device).order_by("time")
    return list(events.values_list("state", "reason"))


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def act(client: Client, action: str, devices: Sequence[Device], **fields: str) -> Any:
    chosen = {"action": action, "index": "0", "_selected_action": [one.pk for one in devices]}
    return confirmed(client, page(LIST), chosen | fields)


def ask(client: Client, action: str, devices: Sequence[Device]) -> Any:
    """The confirmation page of an action."""
    chosen = {"action": action, "index": "0", "_selected_action": [one.pk for one in devices]}
    return client.post(page(LIST), chosen)
