"""The time in a message, by its device's clock."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from django.conf import settings
from msgspec import Meta

from ingest.messages.errors import InvalidMessage

# As sent: ISO 8601, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970.
# The format is for the OpenAPI schema only: a missing time zone has its own error.
Time = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})] | float
# The names that a time may have in a message; the first that is sent counts.
TIME_NAMES = ("time", "timestamp", "ts", "tst", "timestamp_ms")
# How other systems call the time of a message. A heartbeat keeps such a field as a vital, because
# it may be another time; the answer asks whether `time` was meant.
_OTHERS = (
    *("date_time", "date", "datetime_utc", "utc_time", "time_utc", "unix_time", "epoch_time"),
    *("epoch", "epoch_ms", "time_ms", "ts_ms", "time_stamp", "device_time", "event_time"),
    *("recorded_at", "created_at", "measured_at", "sent_at", "recorded", "measured"),
)
OTHER_TIME_NAMES = frozenset(name.replace("_", "") for name in (*_OTHERS, *TIME_NAMES))
NO_TIME = "expected ISO 8601 such as 2026-01-31T12:00:00Z, or seconds since 1970"
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_AHEAD = timedelta(days=1)
# From these on, a number is in milliseconds, microseconds and nanoseconds: as seconds it would be
# after the year 5000, and as the next smaller unit before 1974.
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
# How a calendar time is written without separators, by its length; 17 digits end in milliseconds.
# Numbers of these lengths that read as one would be before 2002 or after 2600.
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S"}
COMPACT_YEARS = range(2015, 2101)
NUMBER = re.compile(r"[+-]?[0-9]{1,25}(?:\.[0-9]{1,25})?", re.ASCII)


class WrongClock(InvalidMessage):
    """A time that shows that the device's clock is wrong: far too early, or in the future."""


def device_time(
    value: datetime | float,
    *,
    received_at: datetime,
    field: str = "$.time",
    earliest: datetime = EARLIEST,
) -> datetime:
    """The time in UTC, from a time with its zone or from a number since 1970.

    Raises WrongClock if it is before `earliest` or more than a day ahead: each additional day would
    create another chunk. Raises InvalidMessage if it is at least INGEST_OLDEST_DAYS ago, has no
    time zone, or is a calendar time without separators such as 20260131120000.
    """
    time = _with_zone(value, field) if isinstance(value, datetime) else _of_number(value, field)
    if time < earliest:
        _refuse_compact(value, field)
        words = f"{time.isoformat()} is before {earliest.year}; the clock may not be set"
        raise WrongClock(field, words)
    if (received_at - time).days >= settings.INGEST_OLDEST_DAYS:
        raise InvalidMessage(
            field,
            f"{time.isoformat()} is {(received_at - time).days} days ago; "
            f"messages older than {settings.INGEST_OLDEST_DAYS} days are not accepted",
        )
    if time > received_at + LATEST_AHEAD:
        _refuse_compact(value, field)
        raise WrongClock(
            field,
            f"{time.isoformat()} is more than a day ahead of our clock, {received_at.isoformat()}",
        )
    return time


def time_of_text(text: str) -> datetime | float | None:
    """A time that was sent as text: ISO 8601, or a number since 1970; None if it is neither."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return float(text)
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def is_time_name(name: str) -> bool:
    """Whether this is one of TIME_NAMES, in any case."""
    return name.lower() in TIME_NAMES


def may_mean_time(name: str) -> bool:
    """Whether this is how another system calls the time: `recorded_at`, `createdAt`, `DateTime`."""
    return name.replace("_", "").replace("-", "").lower() in OTHER_TIME_NAMES


def times_mend(fields: dict[str, Any]) -> bool:
    """Replaces the times that were sent as text in another form than RFC 3339, and their names if
    they were sent in another case; returns whether there are any."""
    is_mended = False
    for name in [name for name in fields if is_time_name(name) and name.lower() not in fields]:
        fields[name.lower()], is_mended = fields.pop(name), True
    for name in TIME_NAMES:
        value = fields.get(name)
        if isinstance(value, str) and (time := time_of_text(value)) is not None:
            fields[name], is_mended = time, True
    return is_mended


def _with_zone(time: datetime, field: str) -> datetime:
    if time.tzinfo is UTC:
        return time
    if time.tzinfo is None:
        raise InvalidMessage(field, "the time zone is missing; end it with Z for UTC")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise WrongClock(field, "this time is out of range") from None


def _refuse_compact(value: datetime | float, field: str) -> None:
    """Raises InvalidMessage for a number such as 20260131120000: it may be an old time, or one in
    any time zone."""
    if isinstance(value, datetime) or not math.isfinite(value):
        return
    digits = str(int(value))
    try:
        time = datetime.strptime(digits[:14], COMPACT[len(digits)])
    except (KeyError, ValueError):
        return
    if time.year in COMPACT_YEARS:
        raise InvalidMessage(
            field,
            f"{digits} reads as a calendar date, not as a number since 1970; "
            "write it as ISO 8601 such as 2026-01-31T12:00:00Z",
        )


def _of_number(number: float, field: str) -> datetime:
    size = abs(number)
    for least, in_a_second in UNITS:
        if size >= least:
            number /= in_a_second
            break
    try:
        return datetime.fromtimestamp(number, UTC)
    except (OverflowError, OSError, ValueError):
        raise WrongClock(field, "not a number of seconds since 1970") from None
