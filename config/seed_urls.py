"""The paths that the check-lists of the systems before Rollcall call.

Each answers as its document says, with Rollcall's keys, tenants and limits. A part of config.urls.
"""

from django.urls import path

from ingest.probes import NodesView
from ingest.push import PushView
from monitoring.health import api_status

device_urlpatterns = [
    # fiber-api, the collector of network probes.
    path("api/push", PushView.as_view(), name="seed-push"),
]

urlpatterns = [
    path("api/status", api_status, name="seed-status"),
    path("api/metrics", NodesView.as_view(), name="seed-metrics"),
]
