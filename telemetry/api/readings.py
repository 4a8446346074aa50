"""`/api/v1/devices/<device_id>/readings`: what a device measured.

Returned page by page, as figures per bucket, or as one file for a whole period.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from django.db import connection
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from devices.api.base.lookup import DeviceName, name_in_path
from telemetry.api.exports import export_response
from telemetry.api.formats import (
    BUCKET_COLUMNS,
    READING_COLUMNS,
    CsvStyle,
    bucket_cells,
    bucket_object,
    csv_parts,
    metric_column,
    ndjson,
    reading_cells,
)
from telemetry.api.pages import json_response, page_response, past_open, past_seal
from telemetry.api.periods import MAX_VALUES, ReadingsQuery, Span, too_many_values
from telemetry.api.timeouts import PeriodView
from telemetry.sql import reading_history
from telemetry.sql.reading_history import Bucket, Last, StoredReading, Window

ROWS_AT_ONCE = 1000
MAX_COLUMNS = 200
ANY = "*/*"


class FileRenderer(BaseRenderer):
    """A file format that can be requested. The view writes the file, not the renderer."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        """Never called: the view returns complete responses, and errors are JSON."""
        raise NotImplementedError


class CsvFile(FileRenderer):
    media_type = "text/csv"
    format = "csv"


class NdjsonFile(FileRenderer):
    media_type = "application/x-ndjson"
    format = "ndjson"


class FormatOrAccept(DefaultContentNegotiation):
    """`?format=` takes precedence over `Accept`."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        if "format" not in request.query_params and request.META.get("HTTP_ACCEPT", ANY) == ANY:
            return renderers[0], renderers[0].media_type
        wanted = request.query_params.get("format")
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        return super().select_renderer(request, renderers, format_suffix)


class ReadingSerializer(serializers.Serializer[Any]):
    time = serializers.DateTimeField(help_text="The device's clock.")
    received_at = serializers.DateTimeField()
    msg_type = serializers.CharField()
    seq = serializers.IntegerField(allow_null=True)
    site = serializers.CharField(allow_null=True)
    metrics = serializers.DictField(
        help_text="Names of metrics, each with a number, text or boolean."
    )


class ReadingsPage(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    device_id = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    results = ReadingSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class BucketSerializer(serializers.Serializer[Any]):
    time = serializers.DateTimeField(help_text="The start of the bucket.")
    metric = serializers.CharField()
    count = serializers.IntegerField()
    avg = serializers.FloatField(allow_null=True)
    min = serializers.FloatField(allow_null=True)
    max = serializers.FloatField(allow_null=True)


class ReadingsBuckets(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    device_id = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    bucket_s = serializers.IntegerField()
    results = BucketSerializer(many=True, help_text="Sorted by metric and time.")


ANSWERS = {
    (200, "application/json"): PolymorphicProxySerializer(
        component_name="Readings",
        serializers=[ReadingsPage, ReadingsBuckets],
        resource_type_field_name=None,
    ),
    (200, "text/csv"): OpenApiTypes.STR,
    (200, "application/x-ndjson"): OpenApiTypes.STR,
}


class ReadingsView(PeriodView):
    renderer_classes = (JSONRenderer, CsvFile, NdjsonFile)
    content_negotiation_class = FormatOrAccept
    problems = (409,)

    @extend_schema(
        operation_id="device_readings",
        tags=["telemetry"],
        request=None,
        parameters=[ReadingsQuery],
        responses=ANSWERS,
    )
    def get(self, request: Request, device_id: str) -> HttpResponseBase:
        """What the device measured: in pages, newest first; as figures per bucket; or as a file.

        A file holds the whole period, oldest first. In CSV, text that a spreadsheet would treat as
        a formula is prefixed with `'`. A metric whose name matches another column, or starts with
        `metrics.`, is prefixed with `metrics.`. Times in CSV are in `tz`, elsewhere in UTC.
        """
        given = ReadingsQuery.asked(request)
        device = name_in_path(self)
        span: Span = given["span"]
        window = Window(device.id, span.start, span.end, given.get("metric"))
        kind = given.get("format") or request.accepted_renderer.format
        style = CsvStyle(given["bom"], given.get("tz"))
        if style.bom and kind != "csv":
            raise ValidationError({"bom": "Send bom together with format=csv."})
        if "bucket" in given:
            found = _buckets(window, given)
            if kind != "json":
                return self._export(_bucket_parts(found, kind, style), device, window, kind)
            return json_response(
                {
                    **_about(device, window),
                    "bucket_s": int(given["bucket"].total_seconds()),
                    "results": [bucket_object(one) for one in found],
                }
            )
        if kind == "json":
            return self._page(device, window, given)
        if kind == "csv":
            parts = _csv_parts(window, _columns(window), style)
        else:
            parts = _ndjson_parts(window)
        return self._export(parts, device, window, kind)

    def _page(self, device: DeviceName, window: Window, given: dict[str, Any]) -> HttpResponseBase:
        about = f"readings:{device.id}:{given.get('metric')}"
        last = None
        if "cursor" in given:
            span, (time, msg_type) = past_open(given["cursor"], about=about)
            window = window._replace(start=span.start, end=span.end)
            last = Last(datetime.fromisoformat(time), msg_type)
        limit = given["limit"]
        with connection.cursor() as cursor:
            rows = reading_history.page(cursor, window, limit=limit + 1, after=last)
        following = None
        if len(rows) > limit:
            key = [rows[limit - 1].time.isoformat(), rows[limit - 1].msg_type]
            following = past_seal(Span(window.start, window.end), key, about=about)
        return page_response(
            rows[:limit],
            request=self.request,
            cursor=following,
            **_about(device, window),
        )

    def _export(
        self, parts: Generator[bytes, None, None], device: DeviceName, window: Window, kind: str
    ) -> HttpResponseBase:
        times = "-".join(f"{one:%Y%m%dT%H%M%SZ}" for one in (window.start, window.end))
        media_types = {one.format: one.media_type for one in (CsvFile, NdjsonFile)}
        return export_response(
            parts,
            request=self.request,
            access=self.access,
            name=f"readings-{device.device_id}-{times}.{kind}",
            content_type=f"{media_types[kind]}; charset=utf-8",
        )


def _about(device: DeviceName, window: Window) -> dict[str, Any]:
    return {
        "tenant": device.tenant,
        "device_id": device.device_id,
        "start": window.start,
        "end": window.end,
    }


def _buckets(window: Window, given: dict[str, Any]) -> list[Bucket]:
    """Raises ValidationError if there are more values than a response may contain."""
    with connection.cursor() as cursor:
        found = reading_history.buckets(
            cursor,
            window,
            bucket=given["bucket"],
            edges=given["edges"],
            fill=given["fill"],
            limit=MAX_VALUES + 1,
        )
    if len(found) > MAX_VALUES:
        raise ValidationError({"bucket": too_many_values()})
    return found


def _bucket_parts(found: list[Bucket], kind: str, style: CsvStyle) -> Generator[bytes, None, None]:
    if kind == "csv":
        yield from csv_parts(BUCKET_COLUMNS, [map(bucket_cells, found)], style)
    else:
        yield ndjson(map(bucket_object, found))


def _columns(window: Window) -> Sequence[str]:
    """The metrics, one column each. Raises ValidationError if there are too many."""
    if window.names is not None:
        return list(dict.fromkeys(window.names))
    with connection.cursor() as cursor:
        names = reading_history.names(cursor, window, limit=MAX_COLUMNS + 1)
    if len(names) > MAX_COLUMNS:
        words = f"This period has more than {MAX_COLUMNS} metrics; name the ones you want."
        raise ValidationError({"metric": words})
    return names


def _whole(window: Window) -> Generator[list[StoredReading], None, None]:
    """Uses a server-side cursor, so this process holds only a few rows at a time."""
    with connection.chunked_cursor() as cursor:
        yield from reading_history.whole(cursor, window, rows_at_once=ROWS_AT_ONCE)


def _csv_parts(
    window: Window, names: Sequence[str], style: CsvStyle
) -> Generator[bytes, None, None]:
    with closing(_whole(window)) as whole:
        cells = ([reading_cells(one, names) for one in rows] for rows in whole)
        yield from csv_parts([*READING_COLUMNS, *map(metric_column, names)], cells, style)


def _ndjson_parts(window: Window) -> Generator[bytes, None, None]:
    with closing(_whole(window)) as whole:
        for rows in whole:
            yield ndjson(rows)
