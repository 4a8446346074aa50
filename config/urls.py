"""The URL table, served by both the portal and the ingest server."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import seed_urls
from config.health import CHECKS
from devices.people.invitation_pages import invitation
from devices.people.sign_in import admin_sign_in, single_sign_on
from ingest.api import RefusedView
from ingest.door.enrol import EnrolView
from ingest.door.views import HeartbeatView, ReadingsView
from ingest.ledger.balances import messages_stored
from monitoring.system.health import health_view
from telemetry.api.summary import SummaryView

summary = SummaryView.as_view(messages_stored=messages_stored)

# No parameters in these paths: ingest.door.fast_path looks them up without Django's middleware.
_doors = [
    path("api/v1/heartbeats", HeartbeatView.as_view(), name="heartbeats"),
    path("api/v1/readings", ReadingsView.as_view(), name="readings"),
    path("api/v1/enrol", EnrolView.as_view(), name="enrol"),
    *seed_urls.device_urlpatterns,
]
# Some clients end every path with a slash; a redirect would lose the body.
device_urlpatterns = [*_doors, *(path(f"{one.pattern}/", one.callback) for one in _doors)]

urlpatterns = [
    *device_urlpatterns,
    path("api/v1/", include("devices.api.urls")),
    path("api/v1/", include("telemetry.api.urls")),
    path("api/v1/telemetry/summary", summary, name="telemetry-summary"),
    path("api/v1/refused", RefusedView.as_view(), name="refused"),
    path("api/v1/", include("monitoring.api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="api-docs"),
    *seed_urls.urlpatterns,
    path("health", health_view(CHECKS), name="health"),
    path("accounts/invitation/<str:token>/", invitation, name="invitation"),
    path("accounts/oidc/oidc/login/", single_sign_on),
    path("accounts/", include("allauth.urls")),
    # There is only one way to sign in, so that second factor and lock-out always apply.
    path("admin/login/", admin_sign_in),
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
]

handler400 = "devices.http.problems.bad_request"
handler404 = "devices.http.problems.not_found"
handler500 = "devices.http.problems.server_error"
