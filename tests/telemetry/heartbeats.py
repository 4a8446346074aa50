"""Builds heartbeats as the drain hands them to the store."""

from datetime import datetime
from typing import Any

from devices.models import Device
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.vitals import NAMES


def heartbeat(device: Device, received_at: datetime, **fields: Any) -> IncomingHeartbeat:
    given: dict[str, Any] = dict.fromkeys(IncomingHeartbeat._fields)
    given["named"] = tuple(fields.pop(name, None) for name in NAMES)
    given |= {"device_id": device.pk, "tenant_id": device.tenant_id, "received_at": received_at}
    return IncomingHeartbeat(**given | fields)
