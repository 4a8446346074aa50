"""The paths below /api/v1/ for devices, the installation and live events."""

from django.urls import path

from devices.api.urls import ALIAS, DEVICE, MANY, ONE
from monitoring.api.devices import DeviceViewSet
from monitoring.api.installation import (
    ChunksView,
    CompressionView,
    ConfigurationView,
    DatabaseHealthView,
    HealthView,
    HypertablesView,
    PoolHealthView,
    TimescaleHealthView,
    TimescaleStatusView,
)
from monitoring.live.events import live_events

urlpatterns = [
    path("live", live_events, name="live"),
    path("monitoring/health", HealthView.as_view(), name="monitoring-health"),
    path("monitoring/health/database", DatabaseHealthView.as_view(), name="health-database"),
    path("monitoring/health/timescaledb", TimescaleHealthView.as_view(), name="health-timescaledb"),
    path("monitoring/metrics/hypertables", HypertablesView.as_view(), name="metrics-hypertables"),
    path("monitoring/metrics/compression", CompressionView.as_view(), name="metrics-compression"),
    path("monitoring/metrics/chunks", ChunksView.as_view(), name="metrics-chunks"),
    path("monitoring/status/timescaledb", TimescaleStatusView.as_view(), name="status-timescaledb"),
    path("monitoring/configuration", ConfigurationView.as_view(), name="configuration"),
    path("ops/pool_health", PoolHealthView.as_view(), name="pool-health"),
    path("devices", DeviceViewSet.as_view(MANY), name="devices"),
    path(DEVICE, DeviceViewSet.as_view(ONE), name="device"),
    path(ALIAS, DeviceViewSet.as_view({"delete": "remove_alias"}), name="device-alias"),
    *(
        path(f"{DEVICE}/{act}", DeviceViewSet.as_view({"post": act}), name=f"device-{act}")
        for act in ("approve", "pause", "resume")
    ),
]
