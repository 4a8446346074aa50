"""The URLs that devices post to, shown to the people who set devices up."""

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def device_url(request: HttpRequest, name: str) -> str:
    """The full address of a named URL on the ingest server, or on this server if no ingest server
    is configured."""
    path = reverse(name)
    base = settings.INGEST_URL.rstrip("/")
    return f"{base}{path}" if base else request.build_absolute_uri(path)
