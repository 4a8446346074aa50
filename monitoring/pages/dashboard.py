"""The admin's first page: the state of the fleet, and which devices need attention."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from redis.exceptions import RedisError

from devices.tenancy.access import Role, access_in, sees_several_tenants
from monitoring.pages.fleet import IN_TROUBLE, counts_by_state, in_trouble, seen_in
from monitoring.system.health import worker_works
from telemetry.presence.listening import deaf_since

SHOWN = 25


def fleet_context(request: HttpRequest) -> dict[str, Any]:
    access = access_in(request)
    counts = counts_by_state()
    return {
        "state_counts": counts,
        "device_count": seen_in(counts).devices,
        "count_in": {one.state: one.devices for one in counts},
        "trouble_count": sum(one.devices for one in counts if one.state in IN_TROUBLE),
        "in_trouble": in_trouble(limit=SHOWN),
        "may_add": access.allows(Role.MANAGER),
        "has_tenants": access.is_operator or bool(access.roles),
        "several_tenants": sees_several_tenants(request),
        "worker_works": worker_works(),
        **_deafness(),
    }


def _deafness() -> dict[str, Any]:
    """Why no device can be heard now, if none can."""
    try:
        return {"deaf_since": deaf_since(timezone.now())}
    except RedisError:
        return {"valkey_is_unavailable": True}


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For UNFOLD["DASHBOARD_CALLBACK"]."""
    return {**context, **fleet_context(request), "title": "Fleet"}
