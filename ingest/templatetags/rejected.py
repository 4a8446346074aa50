"""Rejected messages on pages that are about something else."""

from django import template

from ingest.models import RejectedMessage

register = template.Library()


@register.simple_tag
def held_count(device_id: int) -> int:
    """How many messages of the device wait for its approval."""
    held = RejectedMessage.objects.filter(
        device=device_id, reason=RejectedMessage.Reason.PENDING_DEVICE, replayed_at=None
    )
    return held.count()
