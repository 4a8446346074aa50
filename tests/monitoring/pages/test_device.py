"""What the page of a device shows of its past."""

from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.utils import timezone

from monitoring.pages.device import HEARTBEATS, heartbeats_of
from telemetry.models import DeviceStatus
from telemetry.sql import heartbeat as heartbeat_sql
from telemetry.sql.bulk import fetch_binary
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store


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
