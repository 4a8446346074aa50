"""The paths of this app below /api/v1/, for people and their programs."""

from typing import Any

from django.urls import path

import devices.api.base.paths  # noqa: F401 -- registers the converters
from devices.api.auth.jwt import TokenRefreshView, TokenView
from devices.api.credentials import DeviceCredentialViewSet, GatewayCredentialViewSet
from devices.api.enrolment_tokens import EnrolmentTokenViewSet
from devices.api.members import MemberViewSet
from devices.api.sites import GroupViewSet, SiteViewSet
from devices.api.tenants import TenantsViewSet

Actions = dict[str, Any]

MANY: Actions = {"get": "list", "post": "create"}
ONE: Actions = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
READ: Actions = {"get": "retrieve"}

DEVICE = "devices/<device_id:device_id>"
ALIAS = f"{DEVICE}/aliases/<device_id:alias>"
TENANT = "tenants/<tenant_slug:slug>"

urlpatterns = [
    path("auth/token", TokenView.as_view(), name="token"),
    path("auth/token/refresh", TokenRefreshView.as_view(), name="token-refresh"),
    path("sites", SiteViewSet.as_view(MANY), name="sites"),
    path("sites/<row_id:id>", SiteViewSet.as_view(ONE), name="site"),
    path("groups", GroupViewSet.as_view(MANY), name="groups"),
    path("groups/<row_id:id>", GroupViewSet.as_view(ONE), name="group"),
    path("tenants", TenantsViewSet.as_view(MANY), name="tenants"),
    path(
        TENANT,
        TenantsViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="tenant",
    ),
    path("members", MemberViewSet.as_view(MANY), name="members"),
    path("members/<row_id:id>", MemberViewSet.as_view(ONE), name="member"),
    path("enrolment-tokens", EnrolmentTokenViewSet.as_view(MANY), name="enrolment-tokens"),
    path(
        "enrolment-tokens/<prefix:prefix>",
        EnrolmentTokenViewSet.as_view(READ),
        name="enrolment-token",
    ),
    path(
        "enrolment-tokens/<prefix:prefix>/revoke",
        EnrolmentTokenViewSet.as_view({"post": "revoke"}),
        name="enrolment-token-revoke",
    ),
    *(
        route
        for base, view, of in (
            (DEVICE, DeviceCredentialViewSet, "device"),
            (TENANT, GatewayCredentialViewSet, "gateway"),
        )
        for route in (
            path(f"{base}/credentials", view.as_view(MANY), name=f"{of}-credentials"),
            path(
                f"{base}/credentials/<prefix:prefix>",
                view.as_view(READ),
                name=f"{of}-credential",
            ),
            path(
                f"{base}/credentials/<prefix:prefix>/rotate",
                view.as_view({"post": "rotate"}),
                name=f"{of}-credential-rotate",
            ),
            path(
                f"{base}/credentials/<prefix:prefix>/revoke",
                view.as_view({"post": "revoke"}),
                name=f"{of}-credential-revoke",
            ),
        )
    ),
]
