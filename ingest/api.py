"""`/api/v1/refused`: messages that the door refused, by device, minute, reason and field."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from devices.api.base.cursors import cursor_open, cursor_seal
from devices.api.base.fields import STORABLE
from devices.api.base.queries import Query
from devices.api.base.views import ScopedView
from ingest.door.refusal_rows import refusal_words
from ingest.models import Refusal
from telemetry.api.pages import page_response
from telemetry.api.periods import DEFAULT_LIMIT, MAX_LIMIT

DEFAULT_HOURS = 24
MAX_HOURS = 24 * 400
ABOUT = "refused"


class RefusedQuery(Query):
    """`device_id`, `tenant` and `code` narrow the list."""

    device_id = serializers.RegexField(
        STORABLE, required=False, max_length=64, help_text="The device's own name."
    )
    tenant = serializers.RegexField(
        STORABLE, required=False, max_length=63, help_text="The slug of a tenant."
    )
    code = serializers.ListField(
        child=serializers.ChoiceField(choices=Refusal.Code.choices),
        required=False,
        allow_empty=False,
        max_length=len(Refusal.Code),
        help_text="Why they were refused. If given several times: for any of these reasons.",
    )
    hours = serializers.IntegerField(
        default=DEFAULT_HOURS,
        min_value=1,
        max_value=MAX_HOURS,
        help_text="How many hours back from now.",
    )
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)
    cursor = serializers.CharField(
        required=False,
        max_length=1000,
        help_text="Copied from the `next` URL; it keeps the same period.",
    )


class RefusedSerializer(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    device_id = serializers.CharField(
        allow_null=True, help_text="Null if the messages were of no device that exists."
    )
    code = serializers.ChoiceField(choices=Refusal.Code.choices)
    field = serializers.CharField(
        help_text="The field that is wrong; empty: the whole message, `*`: several fields."
    )
    reason = serializers.CharField(help_text="The reason as text.")
    sample = serializers.CharField(
        help_text="The start of the last of these messages: names and numbers. Instead of most "
        "text there is its length, such as `…(32)`."
    )
    count = serializers.IntegerField()
    minute = serializers.DateTimeField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()


class RefusedPage(serializers.Serializer[Any]):
    results = RefusedSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class RefusedView(ScopedView):
    @extend_schema(
        operation_id="refused",
        tags=["telemetry"],
        request=None,
        parameters=[RefusedQuery],
        responses=RefusedPage,
    )
    def get(self, request: Request) -> HttpResponse:
        """Refused messages, latest first: one row for each device, minute, reason and field."""
        given = RefusedQuery.asked(request)
        limit = given["limit"]
        since = timezone.now() - timedelta(hours=given["hours"])
        rows = Refusal.objects.select_related("tenant", "device")
        if cursor := given.get("cursor"):
            start, minute, row_id = cursor_open(cursor, about=ABOUT)
            since = datetime.fromisoformat(start)
            before = (datetime.fromisoformat(minute), row_id)
            rows = rows.filter(TupleLessThan(Tuple(F("minute"), F("id")), before))
        found = list(_narrowed(rows, given).filter(minute__gte=since)[: limit + 1])
        following = None
        if len(found) > limit:
            last = found[limit - 1]
            values = [since.isoformat(), last.minute.isoformat(), last.pk]
            following = cursor_seal(values, about=ABOUT)
        return page_response(_shown(found[:limit]), request=request, cursor=following)


def _narrowed(rows: QuerySet[Refusal], given: dict[str, Any]) -> QuerySet[Refusal]:
    if "device_id" in given:
        rows = rows.filter(device__device_id=given["device_id"])
    if "tenant" in given:
        rows = rows.filter(tenant__slug=given["tenant"])
    if "code" in given:
        rows = rows.filter(code__in=given["code"])
    return rows


def _shown(rows: Sequence[Refusal]) -> list[dict[str, Any]]:
    return [
        {
            "tenant": row.tenant.slug,
            "device_id": row.device.device_id if row.device else None,
            "code": row.code,
            "field": row.field,
            "reason": refusal_words(row),
            "sample": row.sample,
            "count": row.count,
            "minute": row.minute,
            "first_at": row.first_at,
            "last_at": row.last_at,
        }
        for row in rows
    ]
