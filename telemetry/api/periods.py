"""Query parameters for a device's history: the period, the metrics and the page size."""

import re
from collections.abc import Set
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from devices.api.base.queries import Query

MAX_DAYS = 31
# Nothing was measured before this, and a bucket that early could begin before datetime.min.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
MAX_HOURS = MAX_DAYS * 24
DEFAULT_HOURS = 1
DEFAULT_LIMIT, MAX_LIMIT = 500, 5000
MAX_NAMES = 20
MAX_BUCKETS = 5000
MAX_VALUES = 50_000
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
BUCKET = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)
# `…T12:00:00+01:00` after URL decoding, which turns `+` into a space.
PLUS_LOST = re.compile(r"(.+T.+) ([0-9]{2}:?[0-9]{2})$", re.ASCII)
FORMATS = ("json", "csv", "ndjson")
DAY = timedelta(days=1)
# Where TimescaleDB lets buckets of several days begin: a Monday.
ORIGIN = date(2000, 1, 3)
# In the lists of zones, but not a place's.
NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})


class Span(NamedTuple):
    """The time from `start` until just before `end`."""

    start: datetime
    end: datetime


class MomentField(serializers.DateTimeField):
    """ISO 8601. Accepts a `+` in the time zone even if it was not encoded as `%2B`. A time without
    a zone stays one; its query knows the zone."""

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(PLUS_LOST.sub(r"\1+\2", value))
        return moment

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            return value
        moment: datetime = super().enforce_timezone(value)
        return moment


@extend_schema_field({"type": "string", "example": "Europe/Berlin"})
class ZoneField(serializers.CharField):
    """The name of a time zone, such as `Europe/Berlin`; validated into its ZoneInfo."""

    def to_internal_value(self, data: Any) -> Any:
        name = super().to_internal_value(data)
        if name not in _zones():
            raise ValidationError("Unknown time zone; send a name such as Europe/Berlin or UTC.")
        return ZoneInfo(name)


@cache
def _zones() -> Set[str]:
    return available_timezones() - NO_ZONES


class PeriodQuery(Query):
    """The last `hours`, or from `start` to `end`; validated into the Span `span`."""

    hours = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_HOURS, help_text="How many hours back from now."
    )
    start = MomentField(
        required=False,
        help_text=f"ISO 8601, in `tz` unless it names a zone; at most {MAX_DAYS} days before "
        "`end`. A date is the beginning of its day.",
    )
    end = MomentField(
        required=False,
        help_text="ISO 8601, in `tz` unless it names a zone; not part of the period. Default: now.",
    )
    tz = ZoneField(
        required=False,
        help_text="A time zone, such as `Europe/Berlin`: of a `start` and `end` that name none, of "
        "the days of buckets of whole days, and of the times in CSV. Default: UTC.",
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        moments_place(given)
        given["span"] = _span(given, now=timezone.now())
        return given


def moments_place(given: dict[str, Any]) -> None:
    """Gives `start` and `end` the query's time zone, unless they named one. Raises ValidationError
    if they are then too early or too late to be a time."""
    zone = given.get("tz", UTC)
    for name in ("start", "end"):
        moment = given.get(name)
        if moment is not None and moment.tzinfo is None:
            try:
                given[name] = moment.replace(tzinfo=zone).astimezone(UTC)
            except OverflowError:
                raise ValidationError({name: "This time is out of range."}) from None


class PageQuery(PeriodQuery):
    limit = serializers.IntegerField(
        default=DEFAULT_LIMIT,
        min_value=1,
        max_value=MAX_LIMIT,
        help_text="The maximum number of results per page.",
    )
    cursor = serializers.CharField(
        required=False,
        max_length=1000,
        help_text="Copied from the `next` URL; it keeps the same period.",
    )


@extend_schema_field({"type": "string", "pattern": f"^{BUCKET.pattern}$"})
class BucketField(serializers.CharField):
    """A duration such as `30s`, `5m`, `1h` or `1d`; validated into a timedelta."""

    def to_internal_value(self, data: Any) -> Any:
        match = BUCKET.fullmatch(super().to_internal_value(data))
        if match is None:
            raise ValidationError(
                "Send a whole number above 0, followed by s, m, h or d: for example 30s or 5m."
            )
        bucket = timedelta(seconds=int(match[1]) * UNITS_S[match[2]])
        if bucket > timedelta(days=MAX_DAYS):
            raise ValidationError(f"A bucket can be at most {MAX_DAYS} days long.")
        return bucket


class ReadingsQuery(PageQuery):
    metric = serializers.ListField(
        child=serializers.CharField(max_length=64, trim_whitespace=False),
        required=False,
        allow_empty=False,
        max_length=MAX_NAMES,
        help_text="Names of metrics. Default: all.",
    )
    bucket = BucketField(
        required=False,
        help_text="Such as `30s`, `5m` or `1h`: return figures for each metric per bucket.",
    )
    fill = serializers.BooleanField(
        default=False, help_text="Include empty buckets, with null values."
    )
    format = serializers.ChoiceField(
        choices=FORMATS,
        required=False,
        help_text="`csv` and `ndjson` return the whole period as a file; `Accept` works, too.",
    )
    bom = serializers.BooleanField(
        default=False,
        help_text="Begin CSV with a byte order mark, so that spreadsheets read it as UTF-8.",
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Adds `edges`: where the buckets begin, if they are days of `tz`; otherwise None."""
        given = super().validate(given)
        given["edges"] = None
        if "bucket" in given:
            _check_buckets(given["span"], given["bucket"], given.get("metric"))
            if "tz" in given and not given["bucket"] % DAY:
                given["edges"] = _edges(given["span"], given["bucket"].days, given["tz"])
        elif given["fill"]:
            raise ValidationError({"fill": "Send fill together with bucket."})
        return given


def _span(given: dict[str, Any], *, now: datetime) -> Span:
    start, end = given.get("start"), given.get("end")
    if "hours" in given:
        if start or end:
            raise ValidationError({"hours": "Send either hours, or start and end."})
        return Span(now - timedelta(hours=given["hours"]), now)
    if start is None:
        if end is not None:
            raise ValidationError({"start": "Send start together with end."})
        return Span(now - timedelta(hours=DEFAULT_HOURS), now)
    end = end or now
    if start < EARLIEST:
        raise ValidationError({"start": f"Must be in {EARLIEST:%Y} or later."})
    if start >= end:
        raise ValidationError({"start": "Must be before end."})
    if end - start > timedelta(days=MAX_DAYS):
        raise ValidationError(
            {"start": f"A period can be at most {MAX_DAYS} days long; request it in parts."}
        )
    return Span(start, end)


def _edges(span: Span, days: int, zone: tzinfo) -> list[datetime]:
    """The beginnings of the buckets of so many days, in UTC. A day may have 23 or 25 hours.

    Raises ValidationError if the zone has no such days: at the ends of time.
    """
    try:
        first, last = (
            ((moment.astimezone(zone).date() - ORIGIN).days // days)
            for moment in (span.start, span.end - timedelta(microseconds=1))
        )
        midnights = (
            datetime.combine(ORIGIN + number * days * DAY, time(), zone)
            for number in range(first, last + 1)
        )
        return [midnight.astimezone(UTC) for midnight in midnights]
    except OverflowError:
        raise ValidationError({"tz": "This period has no days in this time zone."}) from None


def _check_buckets(span: Span, bucket: timedelta, metrics: list[str] | None) -> None:
    # Both ends of the span may cut a bucket in two.
    count = (span.end - span.start) // bucket + 2
    if count > MAX_BUCKETS:
        words = f"{count:,} buckets; at most {MAX_BUCKETS:,} are possible. Use longer ones."
        raise ValidationError({"bucket": words})
    if metrics and count * len(metrics) > MAX_VALUES:
        raise ValidationError({"bucket": too_many_values()})


def too_many_values() -> str:
    return f"At most {MAX_VALUES:,} values are possible. Use longer buckets or name fewer metrics."
