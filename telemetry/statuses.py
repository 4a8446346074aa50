"""The shape in which changes of latest status leave this room."""

from datetime import datetime
from typing import NamedTuple


class StatusChange(NamedTuple):
    """A device's latest status just after a commit. Times are UTC, battery is 0 to 100."""

    device_id: int
    tenant_id: int
    state: str
    state_since: datetime
    reason: str
    last_seen: datetime | None
    battery_pct: float | None
