"""Sweeps at chosen times, and their results."""

from datetime import UTC, datetime, timedelta

from devices.models import Device
from telemetry.models import DeviceStatus, PresenceEvent
from telemetry.presence.sweep import SweepResult, presence_sweep

T0 = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def sweep(seconds: float) -> SweepResult:
    return presence_sweep(ts=after(seconds), heard_until=after(seconds))


def sweep_until(seconds: int) -> None:
    """As beat does: every 10 s."""
    for moment in range(0, seconds + 1, 10):
        sweep(moment)


def sweeps(start: int, end: int) -> None:
    """Every 10 s from `start`, and at `end`."""
    for moment in (*range(start, end, 10), end):
        sweep(moment)


def status(device: Device) -> DeviceStatus:
    return DeviceStatus.objects.get(device=device)


def transitions(device: Device) -> list[tuple[str, str]]:
    events = PresenceEvent.objects.filter(device=device).order_by("time")
    return [(event.previous_state, event.state) for event in events]
