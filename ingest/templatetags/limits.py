"""Refused messages on other models' pages."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils import timezone

from ingest.door.breaches import breach_words
from ingest.models import LimitBreach

register = template.Library()

SHOWN = 5
DAY = timedelta(days=1)


@register.inclusion_tag("admin/ingest/breaches_of_device.html")
def limit_breaches(device_id: int) -> dict[str, Any]:
    """Messages from the device that limits refused in the last day, latest first; may be empty."""
    since = timezone.now() - DAY
    found = LimitBreach.objects.filter(device=device_id, minute__gte=since).select_related("device")
    breaches = list(found[:SHOWN])
    return {"device_id": device_id, "breaches": [(one, breach_words(one)) for one in breaches]}
