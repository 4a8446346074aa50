"""Refused messages on other models' pages."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils import timezone

from ingest.door.refusal_rows import refusal_words, refusals_of

register = template.Library()

SHOWN = 5
DAY = timedelta(days=1)


@register.inclusion_tag("admin/ingest/refusals_of_device.html")
def refusals_of_device(device_id: int) -> dict[str, Any]:
    """What was refused of the device in the last day, latest first; may be empty."""
    found = refusals_of(device_id, since=timezone.now() - DAY)[:SHOWN]
    return {"device_id": device_id, "refusals": [(one, refusal_words(one)) for one in found]}
