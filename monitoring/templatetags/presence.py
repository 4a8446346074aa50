"""Template tags for states, times and vitals."""

from typing import Any

from django import template
from django.template.context import RequestContext
from django.utils.safestring import SafeString

from devices.fleet.addresses import device_url
from devices.models import Device
from monitoring.pages import formatting
from telemetry.models import DeviceStatus
from telemetry.presence.reasons import duration

register = template.Library()

# The first message to try, by kind of device: its URL name and body. Other kinds send a heartbeat.
FIRST_MESSAGES = {
    Device.Kind.PROBE: ("seed-push", '{"latency": 21.5, "uptime": 99.9, "packet_loss": 0.5}'),
    Device.Kind.SENSOR: ("readings", '{"metrics": {"temp_c": 21.5}}'),
}
HEARTBEAT = ("heartbeats", '{"battery_pct": 88}')

register.filter(formatting.state_badge)
register.filter(formatting.ago)
register.filter(formatting.elapsed)
register.filter(formatting.clock)
register.filter(formatting.ticked)
register.filter(formatting.battery)
register.filter(formatting.moment)
register.filter(formatting.vital)
register.filter(formatting.pairs)
register.filter(formatting.older_metrics)
register.filter(formatting.clock_skew)
register.filter(formatting.allowance)
register.filter(formatting.is_time_notable)
register.filter(duration)


@register.simple_tag
def live_state(status: DeviceStatus) -> SafeString:
    return formatting.live_state(status.device_id, status.device.device_id, status.state)


@register.simple_tag
def live_since(status: DeviceStatus) -> SafeString:
    since = formatting.elapsed(status.state_since)
    return formatting.live(status.device_id, "state_since", since)


@register.simple_tag
def live_last_seen(status: DeviceStatus) -> SafeString:
    return formatting.live(status.device_id, "last_seen", formatting.ago(status.last_seen))


@register.simple_tag
def live_battery(status: DeviceStatus) -> SafeString:
    charge = formatting.battery(status.battery_pct)
    return formatting.live(status.device_id, "battery_pct", charge)


@register.simple_tag
def live_reason(status: DeviceStatus) -> SafeString:
    reason = formatting.ticked(status.reason)
    return formatting.live(status.device_id, "reason", reason)


@register.inclusion_tag("admin/devices/device/first_message.html", takes_context=True)
def first_message(context: RequestContext, device: Device, key: str = "rc_…") -> dict[str, Any]:
    """A curl command that tries the device's key."""
    name, body = FIRST_MESSAGES.get(Device.Kind(device.kind), HEARTBEAT)
    return {"url": device_url(context["request"], name), "key": key, "body": body}
