"""`/api/v1/devices/<device_id>/heartbeats`: a device's stored heartbeats."""

from datetime import datetime
from typing import Any

import msgspec
from django.db import connection
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from devices.api.base.lookup import name_in_path
from telemetry.api.pages import page_response, past_open, past_seal
from telemetry.api.periods import PageQuery
from telemetry.api.timeouts import PeriodView
from telemetry.sql import heartbeat
from telemetry.sql.heartbeat import StoredHeartbeat
from telemetry.vitals import NAMED_VITALS

FIELDS = {float: serializers.FloatField, str: serializers.CharField}


class HeartbeatSerializer(serializers.Serializer[Any]):
    time = serializers.DateTimeField(help_text="The device's clock.")
    received_at = serializers.DateTimeField()
    address = serializers.IPAddressField(allow_null=True)
    vitals = serializers.DictField(allow_null=True, help_text="All other vitals.")

    def get_fields(self) -> dict[str, Any]:
        named = {vital.name: FIELDS[vital.type](allow_null=True) for vital in NAMED_VITALS}
        fields = super().get_fields()
        head = {name: fields.pop(name) for name in ("time", "received_at")}
        return {**head, **named, **fields}


class HeartbeatsPage(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    device_id = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    results = HeartbeatSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class HeartbeatsView(PeriodView):
    problems = (409,)

    @extend_schema(
        operation_id="device_heartbeats",
        tags=["telemetry"],
        request=None,
        parameters=[PageQuery],
        responses=HeartbeatsPage,
    )
    def get(self, request: Request, device_id: str) -> HttpResponse:
        """A device's heartbeats in a period, newest first. The period is by the device's clock,
        rounded to 10 s."""
        given = PageQuery.asked(request)
        device = name_in_path(self)
        about, span, limit = f"heartbeats:{device.id}", given["span"], given["limit"]
        until = span.end
        if "cursor" in given:
            span, (bucket,) = past_open(given["cursor"], about=about)
            until = datetime.fromisoformat(bucket)
        with connection.cursor() as cursor:
            rows = heartbeat.page(
                cursor, device_id=device.id, start=span.start, end=until, limit=limit + 1
            )
        following = None
        if len(rows) > limit:
            following = past_seal(span, [rows[limit - 1].bucket.isoformat()], about=about)
        return page_response(
            [_object(one) for one in rows[:limit]],
            request=request,
            cursor=following,
            tenant=device.tenant,
            device_id=device.device_id,
            start=span.start,
            end=span.end,
        )


def _object(one: StoredHeartbeat) -> dict[str, Any]:
    return {
        "time": one.time,
        "received_at": one.received_at,
        **one.named,
        "address": one.address,
        "vitals": None if one.vitals is None else msgspec.Raw(one.vitals.encode()),
    }
