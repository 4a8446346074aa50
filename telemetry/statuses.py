"""The status changes that this app announces to others."""

from datetime import datetime
from typing import NamedTuple


class StatusChange(NamedTuple):
    """A device's status just after a commit. Times are in UTC, the battery is 0 to 100."""

    device_id: int
    tenant_id: int
    state: str
    state_since: datetime
    reason: str
    last_seen: datetime | None
    battery_pct: float | None
