"""The paths below /api/v1/ for a device's status, messages and presence."""

from django.urls import path

from devices.api.urls import DEVICE, READ
from telemetry.api.heartbeats import HeartbeatsView
from telemetry.api.presence import PresenceView
from telemetry.api.readings import ReadingsView
from telemetry.api.status import StatusViewSet

urlpatterns = [
    path(f"{DEVICE}/status", StatusViewSet.as_view(READ), name="device-status"),
    path(f"{DEVICE}/readings", ReadingsView.as_view(), name="device-readings"),
    path(f"{DEVICE}/presence", PresenceView.as_view(), name="device-presence"),
    path(f"{DEVICE}/heartbeats", HeartbeatsView.as_view(), name="device-heartbeats"),
]
