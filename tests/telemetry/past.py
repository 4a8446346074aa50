"""Readings written directly to the database."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from devices.models import Device
from telemetry.sql.reading import IncomingReading
from tests.telemetry.storing import readings_store


def moment(seconds_ago: float = 0) -> datetime:
    """A whole second before now."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds_ago)


def moments(count: int) -> list[datetime]:
    """This many different whole seconds before now, newest first; the clock is read once."""
    newest = moment(1)
    return [newest - timedelta(seconds=n) for n in range(count)]


def store(
    device: Device, time: datetime, metrics: dict[str, Any], msg_type: str = "telemetry"
) -> None:
    readings_store(
        readings=[
            IncomingReading(
                device.pk,
                device.tenant_id,
                time,
                time,
                None,
                msg_type,
                "hall",
                json.dumps(metrics).encode(),
            )
        ]
    )
