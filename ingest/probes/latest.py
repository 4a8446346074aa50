"""What probes measured last, for requesters with a key or a session."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices.api.base.queries import parameters_check
from devices.api.base.views import ScopedView
from devices.fleet.keys import Speaker
from devices.tenancy.scope import tenant_scope
from ingest.door.authentication import DeviceKeyAuthentication
from ingest.door.views import InvalidBody
from telemetry.sql.reading import NodeLatest, latest_of_probes

HEARD_WITHIN = timedelta(days=7)
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_ID = 2**31 - 1


class Page(NamedTuple):
    """The requested page: at most `limit` nodes, with our ids above `after`."""

    after: int
    limit: int


class KeyIfSent(DeviceKeyAuthentication):
    """Checks a key if one was sent; otherwise leaves authentication to the next class."""

    def authenticate(self, request: Request) -> tuple[Speaker, None] | None:  # type: ignore[override]
        return super().authenticate(request) if "HTTP_AUTHORIZATION" in request.META else None


class HasKeyOrSession(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, Speaker) or bool(request.user.is_authenticated)


class NodesView(ScopedView):
    """`GET /api/metrics?limit=100&after=…`: the latest measurement from each probe heard within a
    week. A person sees their tenants' probes, a gateway its tenant's, and a device only itself.

    `next` is the `after` of the next page, null on the last.
    """

    authentication_classes = (KeyIfSent, SessionAuthentication)
    permission_classes = (HasKeyOrSession,)
    http_method_names = ("get",)

    def scope(self, request: Request) -> AbstractContextManager[None]:
        if isinstance(request.user, Speaker):
            return tenant_scope(tenant_ids=[request.user.tenant_id], reads=True)
        return super().scope(request)

    def get(self, request: Request) -> Response:
        parameters_check(request, Page._fields)
        page = page_decode(request.query_params)
        own = request.user.id if isinstance(request.user, Speaker) else None
        with connection.cursor() as cursor:
            nodes = latest_of_probes(
                cursor,
                since=datetime.now(UTC) - HEARD_WITHIN,
                own=own,
                after=page.after,
                limit=page.limit,
            )
        is_full = len(nodes) == page.limit
        return Response(
            {
                "status": "ok",
                "data": [_as_json(node) for node in nodes],
                "next": nodes[-1].id if is_full else None,
            }
        )


def page_decode(parameters: Mapping[str, str]) -> Page:
    """Raises InvalidBody, with the parameter, unless it is a whole number in its range."""
    return Page(
        _whole(parameters, "after", default=0, low=0, high=MAX_ID),
        _whole(parameters, "limit", default=DEFAULT_LIMIT, low=1, high=MAX_LIMIT),
    )


def _whole(parameters: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    # Longer numbers are out of every range, and slow to parse.
    if text.isascii() and text.isdecimal() and len(text) <= 10 and low <= int(text) <= high:
        return int(text)
    reason = f"expected a whole number from {low} to {high}"
    raise InvalidBody([{"field": name, "reason": reason}])


def _as_json(node: NodeLatest) -> dict[str, Any]:
    return {
        "node_id": node.node_id,
        "node_name": node.name,
        "region": node.region,
        "timestamp": node.time,
        "received_at": node.received_at,
        "metrics": node.metrics,
    }
