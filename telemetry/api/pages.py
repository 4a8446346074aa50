"""Pages of a device's history, newest first. Each page starts where the previous one ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from devices.api.base.cursors import cursor_open, cursor_seal
from telemetry.api.periods import Span

_encode = msgspec.json.Encoder().encode


def json_response(content: Any) -> HttpResponse:
    """A JSON response, encoded by msgspec, which is many times faster than DRF's renderer."""
    response = HttpResponse(_encode(content), content_type="application/json")
    response["Cache-Control"] = "private, no-cache"
    return response


def page_response(
    rows: Sequence[Any], *, request: Request, cursor: str | None, **others: Any
) -> HttpResponse:
    """A page, with the URL of the next one if there is a `cursor` for it."""
    url = request.build_absolute_uri()
    following = None if cursor is None else replace_query_param(url, "cursor", cursor)
    return json_response({**others, "results": rows, "next": following})


def past_seal(span: Span, last: Sequence[str], *, about: str) -> str:
    """A cursor that holds the last row's key and the period, which must not move as time passes."""
    moments = [one.isoformat() for one in span]
    return cursor_seal([*moments, *last], about=about)


def past_open(cursor: str, *, about: str) -> tuple[Span, list[str]]:
    """The period and the key that past_seal sealed. Raises NoSuchReference."""
    start, end, *last = cursor_open(cursor, about=about)
    return Span(datetime.fromisoformat(start), datetime.fromisoformat(end)), last
