"""The paths below /api/v1/ for devices with their state."""

from django.urls import path

from devices.api.urls import DEVICE, MANY, ONE
from monitoring.api.devices import DeviceViewSet

urlpatterns = [
    path("devices", DeviceViewSet.as_view(MANY), name="devices"),
    path(DEVICE, DeviceViewSet.as_view(ONE), name="device"),
    *(
        path(f"{DEVICE}/{act}", DeviceViewSet.as_view({"post": act}), name=f"device-{act}")
        for act in ("approve", "pause", "resume")
    ),
]
