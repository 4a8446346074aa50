"""Messages of devices, and the API's answers about them."""

from datetime import datetime
from typing import Any

from devices.models import Device
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store


def beat(device: Device, received_at: datetime, battery_pct: float | None = None) -> None:
    heartbeats_store(
        heartbeats=[heartbeat(device, received_at, address="10.0.0.7", battery_pct=battery_pct)]
    )


def pages(client: Any, path: str) -> list[Any]:
    """All results, page by page."""
    found: list[Any] = []
    following: str | None = f"/api/v1/{path}"
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.content
        found += answer.json()["results"]
        following = answer.json()["next"]
    return found


def body(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content).decode()
