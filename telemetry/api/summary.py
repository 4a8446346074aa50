"""`/api/v1/telemetry/summary`: the state of a fleet, and what it measured recently.

Readings have no index by tenant, because it would make storing them too slow. So the figures cover
all readings in the period if there are few, and otherwise the latest reading from each device. The
response says which of the two, and when it was computed: it is cached for a few seconds.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from redis.exceptions import RedisError
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from devices.api.base.queries import Query
from devices.models import Tenant
from telemetry.api.formats import number
from telemetry.api.pages import json_response
from telemetry.api.periods import (
    DEFAULT_HOURS,
    MAX_DAYS,
    MAX_HOURS,
    MomentField,
    ZoneField,
    moments_place,
)
from telemetry.api.timeouts import PeriodView
from telemetry.models import DeviceStatus, PresenceState
from telemetry.sql import fleet_metrics
from telemetry.sql.fleet_metrics import FleetWindow

log = logging.getLogger(__name__)

KEPT_S = 10
MOST_READINGS = 10_000
MAX_NAMES = 200

# How many messages from these tenants were stored since a time, rounded down to the minute.
MessagesStored = Callable[[Sequence[int], datetime], int]


class SummaryQuery(Query):
    hours = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_HOURS,
        help_text=f"How many hours back from now. Default: {DEFAULT_HOURS}.",
    )
    start = MomentField(
        required=False,
        help_text=f"Instead of `hours`: ISO 8601, in `tz` unless it names a zone; at most "
        f"{MAX_DAYS} days ago. A date is the beginning of its day.",
    )
    tz = ZoneField(
        required=False,
        help_text="The time zone of a `start` that names none, such as `Europe/Berlin`. Default: "
        "UTC.",
    )
    tenant = serializers.CharField(
        required=False, max_length=63, help_text="The slug of one of your tenants. Default: all."
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        moments_place(given)
        if (start := given.get("start")) is None:
            given.setdefault("hours", DEFAULT_HOURS)
            return given
        if "hours" in given:
            raise ValidationError({"hours": "Send either hours, or start."})
        now = timezone.now()
        if not now - timedelta(days=MAX_DAYS) <= start < now:
            raise ValidationError({"start": f"Must be in the last {MAX_DAYS} days."})
        return given


class DeviceCounts(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    reporting = serializers.IntegerField(help_text="Devices heard from in the period.")
    by_state = serializers.DictField(child=serializers.IntegerField())


class MetricFigures(serializers.Serializer[Any]):
    devices = serializers.IntegerField(help_text="How many devices sent a number.")
    avg = serializers.FloatField()
    min = serializers.FloatField()
    max = serializers.FloatField()


class Summary(serializers.Serializer[Any]):
    hours = serializers.IntegerField(
        allow_null=True, help_text="null if the request had a `start`."
    )
    start = serializers.DateTimeField()
    computed_at = serializers.DateTimeField(help_text=f"The period's end, up to {KEPT_S} s ago.")
    devices = DeviceCounts()
    messages = serializers.IntegerField(
        help_text="Messages and heartbeats stored in the period. Its first minute counts in full."
    )
    metrics_of = serializers.ChoiceField(
        choices=("readings", "latest"),
        help_text=f"`readings`: all readings in the period, at most {MOST_READINGS:,}. `latest`: "
        "there are more, so only the latest reading from each device in the period.",
    )
    metrics = serializers.DictField(child=MetricFigures())


class SummaryView(PeriodView):
    """The URL table passes `messages_stored`, because an app above this one counts messages."""

    problems = (404,)
    period_field = "hours"

    messages_stored: MessagesStored | None = None

    @extend_schema(
        operation_id="telemetry_summary",
        tags=["telemetry"],
        request=None,
        parameters=[SummaryQuery],
        responses=Summary,
    )
    def get(self, request: Request) -> HttpResponse:
        """The number of devices in each state, the number of messages stored, and each metric's
        average, minimum and maximum over the last `hours`, or since `start`."""
        given = SummaryQuery.asked(request)
        hours, start = given.get("hours"), given.get("start")
        tenant_ids = _tenant_ids(given.get("tenant"))
        # These ids come from within the scope, so the cache key is safe to share.
        since = hours if start is None else start.timestamp()
        key = f"summary:{since}:{','.join(map(str, tenant_ids))}"
        return json_response(_kept(key, lambda: self._computed(hours, start, tenant_ids)))

    def _computed(
        self, hours: int | None, start: datetime | None, tenant_ids: list[int]
    ) -> dict[str, Any]:
        assert self.messages_stored is not None, "the URL table passes it"
        now = timezone.now()
        since = now - timedelta(hours=hours or 0) if start is None else start
        window = FleetWindow(tenant_ids, since, now)
        metrics_of, metrics = _metrics(window)
        return {
            "hours": hours,
            "start": window.start,
            "computed_at": now,
            "devices": _devices(window),
            "messages": self.messages_stored(tenant_ids, window.start),
            "metrics_of": metrics_of,
            "metrics": metrics,
        }


def _tenant_ids(slug: str | None) -> list[int]:
    """The tenants in the scope, or the named one. Raises Http404 if it is not in the scope."""
    tenants = Tenant.objects.order_by("pk").values_list("pk", flat=True)
    if slug is None:
        return list(tenants)
    found = list(tenants.filter(slug=slug))
    if not found:
        raise Http404
    return found


def _devices(window: FleetWindow) -> dict[str, Any]:
    counts = {state.value: 0 for state in PresenceState}
    reporting = 0
    rows = DeviceStatus.objects.filter(tenant__in=window.tenant_ids).values_list("state").order_by()
    heard = Count("pk", filter=Q(last_seen__gte=window.start))
    for state, devices, lately in rows.annotate(devices=Count("pk"), lately=heard):
        counts[state] = devices
        reporting += lately
    return {"total": sum(counts.values()), "reporting": reporting, "by_state": counts}


def _metrics(window: FleetWindow) -> tuple[str, dict[str, Any]]:
    with connection.cursor() as cursor:
        found = fleet_metrics.of_readings(cursor, window, most=MOST_READINGS, names=MAX_NAMES)
        metrics_of = "readings"
        if found is None:
            found = fleet_metrics.of_latest(cursor, window, names=MAX_NAMES)
            metrics_of = "latest"
    return metrics_of, {
        one.name: {
            "devices": one.devices,
            "avg": number(one.avg),
            "min": number(one.min),
            "max": number(one.max),
        }
        for one in found
    }


def _kept(key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the cached summary, or computes it. Works without the cache, too."""
    try:
        kept: dict[str, Any] | None = cache.get(key)
        if kept is None:
            kept = compute()
            cache.set(key, kept, KEPT_S)
        return kept
    except RedisError as error:
        log.warning("could not cache a summary, the cache is unavailable: %s", error)
        return compute()
