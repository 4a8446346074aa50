"""Refused contacts of a device, as the collector hands them over."""

from devices.models import Device
from telemetry.models import LastRefusal
from telemetry.presence.refusing import RefusedContact, refused_note
from tests.telemetry.presence.sweeping import after

REASON = "`battery_pct` 255, at most 100"


def contact(
    device: Device,
    seconds: float,
    *,
    count: int = 1,
    reason: str = REASON,
    sample: str = '{"battery_pct": 255}',
    accepted: bool = False,
) -> RefusedContact:
    return RefusedContact(
        device.pk, device.tenant_id, after(seconds), count, reason, sample, accepted
    )


def refuse(*contacts: RefusedContact, until: float | None = None) -> int:
    """Notes the contacts, collected up to `until` or the last of them."""
    collected = max((one.at for one in contacts), default=after(until or 0))
    return refused_note(
        contacts=contacts, collected_until=collected if until is None else after(until)
    )


def last_refusal(device: Device, *, accepted: bool = False) -> LastRefusal:
    return LastRefusal.objects.get(device=device, accepted=accepted)
