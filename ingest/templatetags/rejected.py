"""Rejected messages on other models' pages."""

from django import template
from django.template.defaultfilters import pluralize

from ingest.models import RejectedMessage

register = template.Library()
# An open page of a device counts them every 10 s, so counting stops here.
COUNTED = 10_000


@register.simple_tag
def messages_held(device_id: int) -> str:
    """How many of the device's messages wait for its approval, as text; empty if none do."""
    held = RejectedMessage.objects.filter(
        device=device_id, reason=RejectedMessage.Reason.PENDING_DEVICE, replayed_at=None
    )
    count = held.order_by()[: COUNTED + 1].count()
    if count > COUNTED:
        return f"more than {COUNTED:,} messages wait"
    return f"{count:,} message{pluralize(count)} wait{pluralize(count, 's,')}" if count else ""
