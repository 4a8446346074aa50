"""Serializers made once for all requests: to make their fields takes longer than to use them."""

from functools import cache
from typing import Any

from rest_framework.serializers import Serializer


@cache
def _made(kind: Any) -> Any:
    return kind()


def shared(kind: "type[Serializer[Any]]") -> "Serializer[Any]":
    """The one serializer of this kind, to show rows and to check what addresses ask for; none that
    looks at the request it is used for."""
    made: Serializer[Any] = _made(kind)
    return made
