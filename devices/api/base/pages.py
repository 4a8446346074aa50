"""Splits lists into pages, each of which continues after the keys of the last row, so that late
pages cost no more than the first."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from devices.api.base.cursors import cursor_open, cursor_seal

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
# For lists that do not define orders of their own.
BY_ID: Mapping[str, tuple[str, ...]] = {"id": ("id",)}


class Order(NamedTuple):
    """The columns to sort by. They are never null, and unique in combination."""

    name: str
    keys: tuple[str, ...]
    descending: bool

    @property
    def columns(self) -> list[str]:
        return [f"-{key}" if self.descending else key for key in self.keys]


class KeysetPages(BasePagination):
    """Handles `?limit=`, `?ordering=` and `?cursor=`; returns `{"results": […], "next": <URL or
    null>}`.

    DRF's CursorPagination is not used: it lets clients make up cursors, and it compares a single
    column and skips rows with equal values, which fails for 1,000 or more such rows. The view's
    `orders` lists the columns for each order; the first order is the default.
    """

    parameters = ("limit", "ordering", "cursor")

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit = _limit(request)
        order = _order(request, _orders(view))
        about = f"{queryset.model._meta.label_lower}:{','.join(order.columns)}"
        if cursor := request.query_params.get("cursor"):
            queryset = _after(queryset, order, cursor_open(cursor, about=about))
        rows: list[Model] = list(queryset.order_by(*order.columns)[: limit + 1])
        page = rows[:limit]
        self._next: str | None = None
        if len(rows) > limit:
            last = [getattr(page[-1], key) for key in order.keys]
            url = request.build_absolute_uri()
            self._next = replace_query_param(url, "cursor", cursor_seal(last, about=about))
        return page

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self._next})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {
                    "type": ["string", "null"],
                    "format": "uri",
                    "description": "URL of the next page; null on the last page.",
                },
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        orders = [f"{sign}{name}" for name in _orders(view) for sign in ("", "-")]
        limit = {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "default": DEFAULT_LIMIT,
        }
        return [
            _parameter("limit", limit, "Maximum number of results on a page."),
            _parameter(
                "ordering",
                {"type": "string", "enum": orders},
                "Put `-` before it for descending order.",
            ),
            _parameter("cursor", {"type": "string"}, "Taken from `next` on the previous page."),
        ]


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _orders(view: Any) -> Mapping[str, tuple[str, ...]]:
    return getattr(view, "orders", BY_ID)


def _limit(request: Request) -> int:
    raw = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 9 and 1 <= int(raw) <= MAX_LIMIT):
        raise ValidationError({"limit": f"This should be a whole number from 1 to {MAX_LIMIT}."})
    return int(raw)


def _order(request: Request, orders: Mapping[str, tuple[str, ...]]) -> Order:
    wanted = request.query_params.get("ordering", next(iter(orders)))
    name = wanted.removeprefix("-")
    if name not in orders:
        words = f"This should be one of {', '.join(orders)}, with - before it for descending order."
        raise ValidationError({"ordering": words})
    return Order(name, orders[name], wanted.startswith("-"))


def _after(queryset: QuerySet[Any], order: Order, values: list[Any]) -> QuerySet[Any]:
    """Compares whole rows, which can be looked up directly in an index on the columns."""
    beyond = TupleLessThan if order.descending else TupleGreaterThan
    return queryset.filter(beyond(Tuple(*map(F, order.keys)), tuple(values)))
