"""The paths of the systems that Rollcall replaces; included in config.urls.

Each answers as that system documents it, with Rollcall's keys, tenants and limits.
"""

from django.urls import path

import devices.api.base.paths  # noqa: F401 -- registers the converters
from ingest.ledger.balances import messages_stored
from ingest.probes.latest import NodesView
from ingest.probes.push import PushView
from monitoring.api.installation import PoolHealthView, SystemHealthView
from monitoring.system.health import api_status
from telemetry.api.readings import ReadingsView
from telemetry.api.summary import SummaryView

device_urlpatterns = [
    # fiber-api, the collector of network probes.
    path("api/push", PushView.as_view(), name="seed-push"),
]

urlpatterns = [
    path("api/status", api_status, name="seed-status"),
    path("api/metrics", NodesView.as_view(), name="seed-metrics"),
    # The IoT cloud's fleet and operator pages.
    path(
        "api/v2/devices/<device_id:device_id>/telemetry",
        ReadingsView.as_view(),
        name="seed-telemetry",
    ),
    path(
        "api/v2/telemetry/summary",
        SummaryView.as_view(messages_stored=messages_stored),
        name="seed-summary",
    ),
    path("operator/system/health", SystemHealthView.as_view(), name="seed-system-health"),
    # The heartbeat server's operations.
    path("ops/pool_health", PoolHealthView.as_view(), name="seed-pool-health"),
]
