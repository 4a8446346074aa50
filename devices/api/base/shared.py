"""Serializers that are made once and used for all requests, because making their fields takes
longer than using them."""

from functools import cache
from typing import Any

from rest_framework.serializers import Serializer


@cache
def _made(kind: Any) -> Any:
    return kind()


def shared(kind: "type[Serializer[Any]]") -> "Serializer[Any]":
    """The only instance of this serializer, used to show rows and to validate query parameters. Not
    for serializers that depend on the request."""
    made: Serializer[Any] = _made(kind)
    return made
