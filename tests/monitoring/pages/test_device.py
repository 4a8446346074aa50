"""The page of a device: what to do with it, and what it shows of its past."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from devices.models import Device
from monitoring.pages import formatting
from monitoring.pages.device import HEARTBEATS, heartbeats_of
from telemetry.models import DeviceStatus, LastRefusal
from telemetry.presence.refusing import RefusedContact, refused_note
from telemetry.sql import heartbeat as heartbeat_sql
from telemetry.sql.bulk import fetch_binary
from telemetry.sql.reading import IncomingReading
from tests.admin import SCOPE_QUERIES, client_of, page
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store, readings_store

SAMPLE = '{"battery_pct": 255}'


@pytest.mark.parametrize(
    ("interval_s", "every", "queries"),
    [
        pytest.param(60, timedelta(minutes=1), 1, id="as often as it should"),
        pytest.param(1, timedelta(seconds=10), 1, id="more often than is stored"),
        pytest.param(60, timedelta(minutes=8), 2, id="too seldom"),
        pytest.param(60, timedelta(days=9), 3, id="hardly ever"),
        pytest.param(24 * 60 * 60, timedelta(days=1), 1, id="as seldom as it should"),
    ],
)
def test_the_newest_heartbeats_are_found_in_a_window_that_they_fill(
    acme: Fleet,
    interval_s: int,
    every: timedelta,
    queries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()
    times = [now - n * every for n in range(HEARTBEATS + 5)]
    heartbeats_store(heartbeats=[heartbeat(acme.device, time) for time in times])
    status = DeviceStatus.objects.get(device=acme.device)
    status.interval_s = interval_s

    asked = Mock(wraps=fetch_binary)
    monkeypatch.setattr(heartbeat_sql, "fetch_binary", asked)

    found = heartbeats_of(status)

    assert [one.time for one in found] == times[:HEARTBEATS]
    assert asked.call_count == queries


def test_of_a_device_that_said_little_all_is_shown(acme: Fleet) -> None:
    now = timezone.now()
    heartbeats_store(heartbeats=[heartbeat(acme.device, now - timedelta(days=n)) for n in (0, 400)])
    found = heartbeats_of(DeviceStatus.objects.get(device=acme.device))
    assert [one.time for one in found] == [now, now - timedelta(days=400)]
    assert heartbeats_of(DeviceStatus(device=acme.device)) == []


def test_device_pages_keep_to_their_budget_of_queries(
    silent: Device, acme: Fleet, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    client = client_of(acme.manager)
    ContentType.objects.get_for_model(Device)  # cached by the process after its first page
    # Those of its past, which are read in binary, are not counted: see test_history.
    for name, args, budget in (
        ("devices_device_change", (silent.pk,), 12),
        ("devices_device_add", (), 7),
        ("devices_device_presence", (silent.pk,), 6),
        ("devices_device_issue_key", (silent.pk,), 5),
        ("devices_device_pause", (silent.pk,), 5),
        ("devices_device_counts", (), 4),
        ("devices_device_fleet", (), 6),
    ):
        with django_assert_max_num_queries(budget + SCOPE_QUERIES):
            assert client.get(page(name, *args)).status_code == 200


def test_a_devices_page_says_how_to_get_a_key_when_it_has_none(acme: Fleet, viewer: User) -> None:
    url, issue = page("devices_device_change", acme.device.pk), "Issue a key</a>"
    assert issue not in client_of(acme.manager).get(url).content.decode()
    acme.device.credentials.all().delete()

    shown = client_of(acme.manager).get(url).content.decode()
    assert f'href="{page("devices_device_issue_key", acme.device.pk)}">{issue}' in shown
    looked_at = client_of(viewer).get(url).content.decode()
    assert "No keys yet.</p>" in looked_at
    assert issue not in looked_at

    form = {"device_id": "acme-phone", "name": "Roof", "kind": "phone"}
    form |= {f"credentials-{count}": "0" for count in ("TOTAL_FORMS", "INITIAL_FORMS")}
    assert client_of(acme.manager).post(url, form).status_code == 302
    assert Device.objects.get(pk=acme.device.pk).name == "Roof"


def test_a_devices_page_says_that_nothing_came_yet(acme: Fleet) -> None:
    content = client_of(acme.manager).get(page("devices_device_change", acme.device.pk)).content

    assert b"None yet." in content
    assert b"the latest" not in content


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("phone", "/api/v1/heartbeats", "battery_pct"),
        ("gateway", "/api/v1/heartbeats", "battery_pct"),
        ("sensor", "/api/v1/readings", "metrics"),
        ("probe", "/api/push", "packet_loss"),
    ],
)
def test_a_device_is_told_to_send_what_its_kind_sends(
    acme: Fleet, kind: str, path: str, field: str
) -> None:
    Device.objects.filter(pk=acme.device.pk).update(kind=kind)
    client = client_of(acme.manager)
    for answer in (
        client.get(page("devices_device_presence", acme.device.pk)),
        client.post(page("devices_device_issue_key", acme.device.pk), {"label": ""}),
    ):
        command = unescape(answer.content.decode()).partition("curl -X POST ")[2]
        command = command.partition("</pre>")[0]
        assert f"{path} \\\n" in command
        (body,) = re.findall("-d '(.*)'", command)
        assert field in json.loads(body)


def test_the_page_of_a_device_that_sends_readings_asks_for_no_key(acme: Fleet) -> None:
    url = page("devices_device_presence", acme.device.pk)
    DeviceStatus.objects.filter(device=acme.device).update(last_reading_at=timezone.now())
    assert (
        b"None yet. The device's readings show that it is alive."
        in client_of(acme.manager).get(url).content
    )
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    DeviceStatus.objects.filter(device=acme.device).update(last_reading_at=None)
    assert (
        b"None yet. They are stored once the device is approved."
        in client_of(acme.manager).get(url).content
    )


def test_a_devices_page_shows_its_past_and_trusts_no_text(silent: Device, acme: Fleet) -> None:
    content = client_of(acme.manager).get(page("devices_device_change", silent.pk)).content.decode()

    words = content.replace("\N{NO-BREAK SPACE}", " ")
    assert "first heartbeat, from 10.0.0.7, battery 12 %" in words
    assert "late after 90 s, offline after 3 min" in words
    assert "&lt;b&gt;7&lt;/b&gt;" in content
    assert "<b>7</b>" not in content


def test_a_devices_page_shows_vitals_and_readings_by_their_names(acme: Fleet) -> None:
    beat = heartbeat(acme.device, timezone.now(), vitals='{"items": 3, "charging": true}')
    heartbeats_store(heartbeats=[beat])
    url = page("devices_device_change", acme.device.pk)
    content = client_of(acme.manager).get(url).content.decode()
    assert '<dt>items</dt><dd title="3">3</dd>' in content
    assert '<dt>charging</dt><dd title="yes">yes</dd>' in content
    assert "Latest reading" not in content

    at = {"metrics": {"temp_c": 21.5, "items": "eco"}, "last_reading_at": timezone.now()}
    DeviceStatus.objects.filter(device=acme.device).update(**at)
    content = client_of(acme.manager).get(url).content.decode()
    assert '<dt>temp_c</dt><dd title="21.5">21.5</dd>' in content
    assert '<dt>items</dt><dd title="eco">eco</dd>' in content


def test_a_wrong_clock_is_told_in_words(acme: Fleet) -> None:
    now = timezone.now()
    beat = heartbeat(acme.device, now, time=now + timedelta(minutes=12))
    heartbeats_store(heartbeats=[beat])

    page_of_it = page("devices_device_presence", acme.device.pk)
    content = client_of(acme.manager).get(page_of_it).content
    assert b"12 min ahead" in content


def refused_lately(
    device: Device, *, ago_s: float, count: int = 1, accepted: bool = False
) -> RefusedContact:
    at = timezone.now() - timedelta(seconds=ago_s)
    return RefusedContact(
        device.pk, device.tenant_id, at, count, "`battery_pct` 255, at most 100", SAMPLE, accepted
    )


def panel_of(fleet: Fleet) -> str:
    """The device's part of the page as text, with single spaces and without the number of seconds
    that passed since something happened."""
    answer = client_of(fleet.manager).get(page("devices_device_presence", fleet.device.pk))
    text = re.sub(r"<[^>]+>", "", answer.content.decode()).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r"\d+ s ago", "just now", unescape(" ".join(text.split())))


def test_a_devices_page_says_that_it_speaks_but_is_refused(acme: Fleet) -> None:
    first, last = (refused_lately(acme.device, ago_s=age, count=6) for age in (600, 5))
    refused_note(contacts=[first, last], collected_until=last.at)

    shown = panel_of(acme)

    since = formatting.clock(first.at)
    assert (
        f"It speaks, but 12 messages were refused since {since}, the last just now: "
        f"battery_pct 255, at most 100 {SAMPLE}" in shown
    )
    assert shown.count("at most 100") == 2  # once here, and once in its history


def test_a_devices_page_tells_what_was_refused_besides(acme: Fleet) -> None:
    heartbeats_store(heartbeats=[heartbeat(acme.device, timezone.now() - timedelta(seconds=60))])
    contact = refused_lately(acme.device, ago_s=20)
    refused_note(contacts=[contact], collected_until=contact.at)
    assert "1 message was refused just now: battery_pct 255" in panel_of(acme)

    heartbeats_store(heartbeats=[heartbeat(acme.device, timezone.now())])
    assert "Before its last accepted message, 1 message was refused just now:" in panel_of(acme)
    assert SAMPLE not in panel_of(acme)


def test_a_devices_page_tells_which_values_were_left_out(acme: Fleet) -> None:
    contact = refused_lately(acme.device, ago_s=20, count=3, accepted=True)
    refused_note(contacts=[contact], collected_until=contact.at)
    assert (
        "Accepted without some values: battery_pct 255, at most 100 "
        f"(3 messages since {formatting.clock(contact.at)}, the last just now)" in panel_of(acme)
    )

    LastRefusal.objects.update(at=contact.at - timedelta(days=2))
    assert "Accepted without" not in panel_of(acme)


def test_what_a_device_sent_is_shown_as_text(acme: Fleet) -> None:
    contact = refused_lately(acme.device, ago_s=1)._replace(
        reason="`<b>` <i>not</i> `known", sample="<script>"
    )
    refused_note(contacts=[contact], collected_until=contact.at)
    url = page("devices_device_presence", acme.device.pk)
    content = client_of(acme.manager).get(url).content.decode()

    assert "<code>&lt;b&gt;</code> &lt;i&gt;not&lt;/i&gt;" in content
    assert "&lt;script&gt;" in content and "<script>" not in content


def test_the_other_tenants_refused_messages_are_not_shown(acme: Fleet, rival: Fleet) -> None:
    contact = refused_lately(acme.device, ago_s=1)
    refused_note(contacts=[contact], collected_until=contact.at)
    url = page("devices_device_presence", acme.device.pk)

    assert client_of(rival.manager).get(url).status_code == 404


def test_a_devices_page_shows_metrics_that_the_latest_reading_lacks(acme: Fleet) -> None:
    ids = (acme.device.pk, acme.tenant.pk)
    for minutes, metrics, names in (
        (9, b'{"cpu": 97.2, "x": "<b>"}', 1),
        (1, b'{"load1": 0.2}', 2),
    ):
        at = timezone.now() - timedelta(seconds=10 * minutes)
        reading = IncomingReading(*ids, at, at, None, "telemetry", None, metrics, names)
        readings_store(readings=[reading])

    url = page("devices_device_change", acme.device.pk)
    content = client_of(acme.manager).get(url).content.decode()

    latest, _, other = content.partition("Other metrics")
    assert "<dt>load1</dt>" in latest and "<dt>load1</dt>" not in other
    assert re.search(
        r'<dt>cpu</dt><dd title="97.2, [^"]+">97.2 <span class="rc-facts__when"><time', other
    )
    assert "&lt;b&gt;" in other
