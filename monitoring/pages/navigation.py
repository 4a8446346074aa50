"""The admin's sidebar and account menu."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from devices.tenancy.access import Role, access_in

FLEET = (
    ("Fleet", "monitoring", "index"),
    ("Devices", "sensors", "devices_device_changelist"),
    ("Sites", "location_on", "devices_site_changelist"),
    ("Groups", "workspaces", "devices_devicegroup_changelist"),
    ("Keys", "key", "devices_credential_changelist"),
    ("Enrolment", "qr_code_2", "devices_enrolmenttoken_changelist"),
    ("Tenants", "domain", "devices_tenant_changelist"),
    ("History", "history", "devices_historyentry_changelist"),
)
MESSAGES = (
    ("Ledger", "account_balance", "ingest_ledger"),
    ("Rejected messages", "report", "ingest_rejectedmessage_changelist"),
    ("Refused messages", "speed", "ingest_refusal_changelist"),
)
PEOPLE = (("Invitations", "mail", "devices_invitation_changelist"),)
INSTALLATION = (
    ("Users", "person", "auth_user_changelist"),
    ("Operator audit log", "policy", "devices_operatoraccess_changelist"),
    ("Failed sign-ins", "lock_person", "devices_failedsignin_changelist"),
    ("Periodic tasks", "schedule", "django_celery_beat_periodictask_changelist"),
)
ACCOUNT = (
    ("Second factor", "mfa_index"),
    ("Password", "account_change_password"),
    ("E-mail address", "account_email"),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """For UNFOLD["SIDEBAR"]."""
    access = access_in(request)
    groups: list[dict[str, Any]] = [
        {"items": _items(FLEET if access.allows(Role.VIEWER) else FLEET[:1])}
    ]
    if access.allows(Role.VIEWER):
        groups.append({"title": "Messages", "separator": True, "items": _messages(request)})
    if access.allows(Role.OWNER):
        groups.append({"title": "People", "separator": True, "items": _items(PEOPLE)})
    if access.is_operator:
        groups.append({"title": "Installation", "separator": True, "items": _items(INSTALLATION)})
    return groups


def account_links(request: HttpRequest) -> list[dict[str, str]]:
    """For UNFOLD["ACCOUNT"]: what people set for themselves."""
    return [{"title": title, "link": reverse(name)} for title, name in ACCOUNT]


def _messages(request: HttpRequest) -> list[dict[str, Any]]:
    """Marks one item as active: the ledger's address begins like that of rejected messages."""
    items = _items(MESSAGES)
    here = next((item for item in items if request.path.startswith(item["link"])), None)
    return [{**item, "active": item is here} for item in items]


def _items(entries: tuple[tuple[str, str, str], ...]) -> list[dict[str, str]]:
    return [
        {"title": title, "icon": icon, "link": reverse(f"admin:{name}")}
        for title, icon, name in entries
    ]
