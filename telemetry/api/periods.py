"""Query parameters for a device's history: the period, the metrics and the page size."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

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


class Span(NamedTuple):
    """The time from `start` until just before `end`."""

    start: datetime
    end: datetime


class MomentField(serializers.DateTimeField):
    """ISO 8601. Accepts a `+` in the time zone even if it was not encoded as `%2B`."""

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(PLUS_LOST.sub(r"\1+\2", value))
        return moment


class PeriodQuery(Query):
    """The last `hours`, or from `start` to `end`; validated into the Span `span`."""

    hours = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_HOURS, help_text="How many hours back from now."
    )
    start = MomentField(
        required=False,
        help_text=f"ISO 8601, in UTC unless it names a zone; at most {MAX_DAYS} days before `end`.",
    )
    end = MomentField(
        required=False,
        help_text="ISO 8601, in UTC unless it names a zone; not part of the period. Default: now.",
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        given["span"] = _span(given, now=timezone.now())
        return given


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

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        given = super().validate(given)
        if "bucket" in given:
            _check_buckets(given["span"], given["bucket"], given.get("metric"))
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
