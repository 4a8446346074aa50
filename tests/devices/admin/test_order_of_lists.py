from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from devices.fleet.keys import gateway_credential_issue
from devices.models import Device, Site
from telemetry.models import DeviceStatus
from tests.admin import client_of, page
from tests.conftest import Fleet

COUNT = 60


@pytest.fixture
def half_known(acme: Fleet) -> None:
    """Devices of which every other one has a site, was seen, and sent its battery charge."""
    now = timezone.now()
    for n in range(COUNT):
        known = n % 2 == 0
        device = Device.objects.create(
            tenant=acme.tenant, device_id=f"probe-{n:03}", site=acme.site if known else None
        )
        if known:
            heard = {"last_seen": now - timedelta(seconds=n), "battery_pct": n}
            DeviceStatus.objects.filter(device=device).update(**heard)


def listed(user: User, name: str, column: str, sign: str) -> list[Any]:
    """The rows of all pages of a list that is sorted by the column."""
    client = client_of(user)
    columns = client.get(page(name)).context["cl"]
    order = f"{sign}{columns.list_display.index(column)}"
    rows: list[Any] = []
    while len(rows) < columns.result_count:
        number = len(rows) // columns.list_per_page + 1
        rows += client.get(page(name), {"o": order, "p": number}).context["cl"].result_list
    assert len({row.pk for row in rows}) == len(rows)
    return rows


def is_sorted_with_empty_last(values: list[Any], sign: str) -> bool:
    filled = sorted((one for one in values if one is not None), reverse=sign == "-")
    return 0 < len(filled) < len(values) and values[: len(filled)] == filled


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.usefixtures("half_known")
def test_devices_without_a_value_come_last_both_ways(acme: Fleet, sign: str) -> None:
    name = "devices_device_changelist"
    sites = [one.site and one.site.name for one in listed(acme.manager, name, "place", sign)]
    seen = [one.status.last_seen for one in listed(acme.manager, name, "last_seen", sign)]
    charge = [one.status.battery_pct for one in listed(acme.manager, name, "charge", sign)]

    for values in (sites, seen, charge):
        assert is_sorted_with_empty_last(values, sign)


@pytest.mark.parametrize("sign", ["", "-"])
def test_rows_without_a_value_come_last_in_other_lists(
    acme: Fleet, operator: User, sign: str
) -> None:
    Site.objects.create(tenant=acme.tenant, name="mapped", latitude_deg=1.5)
    gateway_credential_issue(tenant=acme.tenant)
    User.objects.create_user("never-here")

    sites = listed(operator, "devices_site_changelist", "latitude_deg", sign)
    keys = listed(operator, "devices_credential_changelist", "speaker", sign)
    people = listed(operator, "auth_user_changelist", "last_login", sign)

    assert is_sorted_with_empty_last([one.latitude_deg for one in sites], sign)
    speakers = [one.device.device_id if one.device else None for one in keys]
    assert is_sorted_with_empty_last(speakers, sign)
    assert is_sorted_with_empty_last([one.last_login for one in people], sign)
