"""Where devices post to, for the people who set them up."""

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def device_url(request: HttpRequest, name: str) -> str:
    """The address of a named URL on the ingest server, or on this one if there is none."""
    path = reverse(name)
    base = settings.INGEST_URL.rstrip("/")
    return f"{base}{path}" if base else request.build_absolute_uri(path)
