"""Template tags for states, times and vitals."""

from typing import Any

from django import template
from django.template.context import RequestContext
from django.utils.safestring import SafeString

from devices.addresses import device_url
from devices.models import Device
from monitoring import presentation
from telemetry.models import DeviceStatus
from telemetry.reasons import duration

register = template.Library()

# Where a device of this kind posts its first message, and what; any other kind a heartbeat.
FIRST_MESSAGES = {
    Device.Kind.PROBE: ("seed-push", '{"latency": 21.5, "uptime": 99.9, "packet_loss": 0.5}'),
    Device.Kind.SENSOR: ("readings", '{"metrics": {"temp_c": 21.5}}'),
}
HEARTBEAT = ("heartbeats", '{"battery_pct": 88}')

register.filter(presentation.state_badge)
register.filter(presentation.ago)
register.filter(presentation.elapsed)
register.filter(presentation.battery)
register.filter(presentation.moment)
register.filter(presentation.unparted)
register.filter(presentation.vital)
register.filter(presentation.pairs)
register.filter(presentation.clock_skew)
register.filter(presentation.allowance)
register.filter(duration)


@register.simple_tag
def live_state(status: DeviceStatus) -> SafeString:
    return presentation.live_state(status.device_id, status.device.device_id, status.state)


@register.simple_tag
def live_since(status: DeviceStatus) -> SafeString:
    since = presentation.elapsed(status.state_since)
    return presentation.live(status.device_id, "state_since", since)


@register.simple_tag
def live_last_seen(status: DeviceStatus) -> SafeString:
    return presentation.live(status.device_id, "last_seen", presentation.ago(status.last_seen))


@register.simple_tag
def live_battery(status: DeviceStatus) -> SafeString:
    charge = presentation.battery(status.battery_pct)
    return presentation.live(status.device_id, "battery_pct", charge)


@register.simple_tag
def live_reason(status: DeviceStatus) -> SafeString:
    reason = presentation.unparted(status.reason)
    return presentation.live(status.device_id, "reason", reason)


@register.inclusion_tag("admin/devices/device/first_message.html", takes_context=True)
def first_message(context: RequestContext, device: Device, key: str = "rc_…") -> dict[str, Any]:
    """A command to try the device's key with."""
    name, body = FIRST_MESSAGES.get(Device.Kind(device.kind), HEARTBEAT)
    return {"url": device_url(context["request"], name), "key": key, "body": body}
