"""`/api/v1/telemetry/summary`: how a fleet is, and what it measured lately.

Readings have no index by tenant, which would cost their storing too much. So the figures are of
all readings of the period as long as these are few, and else of each device's latest; the answer
says which, and when it was computed: it is kept for some seconds.
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
from rest_framework.request import Request

from devices.api.base.queries import Query
from devices.models import Tenant
from telemetry.api.formats import number
from telemetry.api.pages import json_response
from telemetry.api.periods import DEFAULT_HOURS, MAX_HOURS
from telemetry.api.timeouts import PeriodView
from telemetry.models import DeviceStatus, PresenceState
from telemetry.sql import fleet_metrics
from telemetry.sql.fleet_metrics import FleetWindow

log = logging.getLogger(__name__)

KEPT_S = 10
MOST_READINGS = 10_000
MAX_NAMES = 200

# How many messages of these tenants were stored from a moment on, by the minute.
MessagesStored = Callable[[Sequence[int], datetime], int]


class SummaryQuery(Query):
    hours = serializers.IntegerField(
        default=DEFAULT_HOURS, min_value=1, max_value=MAX_HOURS, help_text="So many until now."
    )
    tenant = serializers.CharField(
        required=False, max_length=63, help_text="Slug of one of your tenants; else all of them."
    )


class DeviceCounts(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    reporting = serializers.IntegerField(help_text="Heard within the period.")
    by_state = serializers.DictField(child=serializers.IntegerField())


class MetricFigures(serializers.Serializer[Any]):
    devices = serializers.IntegerField(help_text="How many devices had a number.")
    avg = serializers.FloatField()
    min = serializers.FloatField()
    max = serializers.FloatField()


class Summary(serializers.Serializer[Any]):
    hours = serializers.IntegerField()
    start = serializers.DateTimeField()
    computed_at = serializers.DateTimeField(help_text=f"Up to {KEPT_S} s ago; the period's end.")
    devices = DeviceCounts()
    messages = serializers.IntegerField(
        help_text="Stored in the period, heartbeats among them; its first minute is counted whole."
    )
    metrics_of = serializers.ChoiceField(
        choices=("readings", "latest"),
        help_text=f"`readings`: all of the period, up to {MOST_READINGS:,}. `latest`: there are "
        "more, and the figures are of each device's latest reading in the period.",
    )
    metrics = serializers.DictField(child=MetricFigures())


class SummaryView(PeriodView):
    """`messages_stored` is given by the URL table: counting messages is not for this room."""

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
        """How many devices there are and in which state, how many messages came, and each
        metric's average, lowest and highest over the last `hours`."""
        given = SummaryQuery.asked(request)
        hours = given["hours"]
        tenant_ids = _tenant_ids(given.get("tenant"))
        # The scope has shown which tenants they are, so they may name what is kept.
        key = f"summary:{hours}:{','.join(map(str, tenant_ids))}"
        return json_response(_kept(key, lambda: self._computed(hours, tenant_ids)))

    def _computed(self, hours: int, tenant_ids: list[int]) -> dict[str, Any]:
        assert self.messages_stored is not None, "the URL table gives it"
        now = timezone.now()
        window = FleetWindow(tenant_ids, now - timedelta(hours=hours), now)
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
    """The tenants that the scope shows, or the one that is named. Raises Http404."""
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
    """What was computed some seconds ago, or now. With the cache away: now."""
    try:
        kept: dict[str, Any] | None = cache.get(key)
        if kept is None:
            kept = compute()
            cache.set(key, kept, KEPT_S)
        return kept
    except RedisError as error:
        log.warning("a summary is not kept, the cache is away: %s", error)
        return compute()
