"""Where a request comes from, behind proxies too."""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The address the request came from; X-Forwarded-For counts only from a trusted proxy."""
    peer = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return _address(forwarded.split(",")[-1].strip() if peer in settings.TRUSTED_PROXIES else peer)


@lru_cache(maxsize=10_000)
def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
