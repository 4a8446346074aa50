"""Times as text for programs."""

from datetime import datetime


def utc_text(ts: datetime) -> str:
    """A UTC time as ISO 8601, such as `2026-01-31T12:00:00Z`."""
    return ts.isoformat().replace("+00:00", "Z")
