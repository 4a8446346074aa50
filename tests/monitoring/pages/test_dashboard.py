"""The first page: how many are silent, and who."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device
from monitoring.pages.fleet import in_trouble
from telemetry.models import DeviceStatus
from tests.admin import client_of, page, told_by
from tests.conftest import Fleet
from tests.monitoring.test_admin import add_devices


def test_the_first_page_reads_no_more_of_the_silent_than_it_shows(acme: Fleet) -> None:
    add_devices(acme, count=3000)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_devicestatus SET state = 'late', last_seen = now()")
        cursor.execute("ANALYZE devices_device, telemetry_devicestatus")
    with CaptureQueriesContext(connection) as queries:
        assert len(in_trouble(limit=25)) == 25
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ANALYZE {queries[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    (read,) = re.findall(r"devices_device_pkey on .* rows=1 loops=(\d+)", plan)
    assert int(read) == 25


def test_the_first_page_counts_and_names_the_silent_of_ones_own(
    silent: Device, acme: Fleet, rival: Fleet
) -> None:
    own = client_of(acme.manager).get(page("index"))
    foreign = client_of(rival.manager).get(page("index"))

    assert {one.state: one.devices for one in own.context["state_counts"]}["offline"] == 1
    assert b"acme-phone" in own.content
    assert "no message for 3\N{NO-BREAK SPACE}min" in own.content.decode()
    assert {one.state: one.devices for one in foreign.context["state_counts"]}["offline"] == 0
    assert b"acme" not in told_by(foreign)


def test_the_first_page_without_devices_leads_only_those_who_may_add_one(
    acme: Fleet, viewer: User
) -> None:
    acme.device.delete()
    add = f'href="{page("devices_device_add")}"'
    assert add in client_of(acme.manager).get(page("index")).content.decode()
    looked_at = client_of(viewer).get(page("index")).content.decode()
    assert "No devices yet. A manager of your tenant can add them." in looked_at
    assert add not in looked_at


def test_the_first_page_has_the_latest_silence_on_top(acme: Fleet) -> None:
    now = timezone.now()
    spoke_s_ago = {"offline": 600, "new-silence": 20, "long-offline": 9000, "offline-too": 600}
    for name, age_s in spoke_s_ago.items():
        device = Device.objects.create(tenant=acme.tenant, device_id=name)
        DeviceStatus.objects.filter(device=device).update(
            state="late" if age_s < 60 else "offline",
            state_since=now - timedelta(seconds=age_s / 2),
            last_seen=now - timedelta(seconds=age_s),
        )

    silent = client_of(acme.manager).get(page("index")).context["in_trouble"]

    shown = [one.device.device_id for one in silent]
    assert shown == ["new-silence", "offline", "offline-too", "long-offline"]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (("new", "new"), "No device has sent a message yet"),
        (("new", "online"), "No device is refused, late or offline; 1 has not sent a message yet."),
        (("new", "paused"), "No device is refused, late or offline; 1 has not sent a message yet."),
        (("paused", "paused"), "Every device is paused"),
        (("paused", "online"), "All present"),
        (("online", "offline"), "no message for"),
    ],
)
def test_the_first_page_says_that_everybody_is_here_only_if_they_are(
    acme: Fleet, states: tuple[str, str], words: str
) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="acme-probe")
    for device, state in zip(Device.objects.order_by("pk"), states, strict=True):
        reason = "no message for 3 min" if state == "offline" else ""
        DeviceStatus.objects.filter(device=device).update(state=state, reason=reason)

    content = client_of(acme.manager).get(page("index")).content.decode()

    assert words in content
    assert ("All present" in content) == (words == "All present")
