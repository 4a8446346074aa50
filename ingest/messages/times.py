"""The time in a message, by its device's clock."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from django.conf import settings
from msgspec import Meta

from ingest.messages.errors import InvalidMessage

# As sent: ISO 8601, or seconds since 1970. The format is for the OpenAPI schema only: a missing
# time zone has its own error.
Time = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})] | float
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_AHEAD = timedelta(days=1)


def device_time(value: datetime | float, *, received_at: datetime) -> datetime:
    """The time in UTC, from a time with its zone or from seconds since 1970.

    Raises InvalidMessage if it is before 2000, at least INGEST_OLDEST_DAYS ago, or more than a day
    ahead: each additional day would create another chunk.
    """
    time = _with_zone(value) if isinstance(value, datetime) else _of_seconds(value)
    if time < EARLIEST:
        raise InvalidMessage("$.time", f"{time.isoformat()} is before 2000; is the clock set?")
    if (received_at - time).days >= settings.INGEST_OLDEST_DAYS:
        raise InvalidMessage(
            "$.time",
            f"{time.isoformat()} is {(received_at - time).days} days ago; "
            f"messages older than {settings.INGEST_OLDEST_DAYS} days are not accepted",
        )
    if time > received_at + LATEST_AHEAD:
        raise InvalidMessage(
            "$.time",
            f"{time.isoformat()} is more than a day ahead of our clock, {received_at.isoformat()}",
        )
    return time


def _with_zone(time: datetime) -> datetime:
    if time.tzinfo is UTC:
        return time
    if time.tzinfo is None:
        raise InvalidMessage("$.time", "the time zone is missing; end it with Z for UTC")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidMessage("$.time", "this time is out of range") from None


def _of_seconds(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        hint = "; are these milliseconds?" if seconds > 10**11 else ""
        raise InvalidMessage("$.time", f"not a number of seconds since 1970{hint}") from None
