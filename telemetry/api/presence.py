"""`/api/v1/devices/<device_id>/presence`: a device's states over time, and the reasons for them."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from devices.api.base.cursors import cursor_open, cursor_seal
from devices.api.base.lookup import name_in_path
from devices.api.base.queries import Query
from devices.api.base.views import ScopedView
from telemetry.api.pages import page_response
from telemetry.api.periods import DEFAULT_LIMIT, MAX_LIMIT
from telemetry.models import PresenceState
from telemetry.sql import presenceevent
from telemetry.sql.presenceevent import StoredTransition


class PresenceQuery(Query):
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)
    cursor = serializers.CharField(
        required=False, max_length=1000, help_text="Copied from the `next` URL."
    )


class TransitionSerializer(serializers.Serializer[Any]):
    time = serializers.DateTimeField()
    previous_state = serializers.ChoiceField(choices=PresenceState.choices)
    state = serializers.ChoiceField(choices=PresenceState.choices)
    reason = serializers.CharField(help_text="The reason as text.")
    lasted_s = serializers.FloatField(
        allow_null=True,
        help_text="How long the device stayed in this state; null if it is still in it.",
    )


class PresencePage(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    device_id = serializers.CharField()
    results = TransitionSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class PresenceView(ScopedView):
    problems = (409,)

    @extend_schema(
        operation_id="device_presence",
        tags=["telemetry"],
        request=None,
        parameters=[PresenceQuery],
        responses=PresencePage,
    )
    def get(self, request: Request, device_id: str) -> HttpResponse:
        """The device's presence transitions, newest first."""
        given = PresenceQuery.asked(request)
        limit = given["limit"]
        device = name_in_path(self)
        about = f"presence:{device.id}"
        ended, before = _after(given.get("cursor"), about=about)
        with connection.cursor() as cursor:
            rows = presenceevent.page(cursor, device_id=device.id, before=before, limit=limit + 1)
        following = None
        if len(rows) > limit:
            last = rows[limit - 1]
            following = cursor_seal([last.time.isoformat(), last.state], about=about)
        return page_response(
            _lasting(rows[:limit], ended),
            request=request,
            cursor=following,
            tenant=device.tenant,
            device_id=device.device_id,
        )


def _after(
    cursor: str | None, *, about: str
) -> tuple[datetime | None, tuple[datetime, str] | None]:
    """When the state of the page's first row ended, and the key of the row before it."""
    if cursor is None:
        return None, None
    time, state = cursor_open(cursor, about=about)
    moment = datetime.fromisoformat(time)
    return moment, (moment, state)


def _lasting(rows: list[StoredTransition], ended: datetime | None) -> list[dict[str, Any]]:
    ends = [ended, *(one.time for one in rows)]
    return [
        {**row._asdict(), "lasted_s": (end - row.time).total_seconds() if end else None}
        for row, end in zip(rows, ends, strict=False)
    ]
