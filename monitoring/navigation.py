"""What stands in the admin's sidebar."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from devices.scoped_admin import access_in
from devices.tenancy import Role

FLEET = (
    ("Fleet", "monitoring", "index"),
    ("Devices", "sensors", "devices_device_changelist"),
    ("Sites", "location_on", "devices_site_changelist"),
    ("Keys", "key", "devices_credential_changelist"),
    ("Tenants", "domain", "devices_tenant_changelist"),
)
INSTALLATION = (
    ("Users", "person", "auth_user_changelist"),
    ("Groups", "group", "auth_group_changelist"),
    ("Periodic tasks", "schedule", "django_celery_beat_periodictask_changelist"),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """For UNFOLD["SIDEBAR"]."""
    access = access_in(request)
    groups: list[dict[str, Any]] = [
        {"items": _items(FLEET if access.allows(Role.VIEWER) else FLEET[:1])}
    ]
    if access.is_operator:
        groups.append({"title": "Installation", "separator": True, "items": _items(INSTALLATION)})
    return groups


def _items(entries: tuple[tuple[str, str, str], ...]) -> list[dict[str, str]]:
    return [
        {"title": title, "icon": icon, "link": reverse(f"admin:{name}")}
        for title, icon, name in entries
    ]
