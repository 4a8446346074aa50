"""The latest value of each metric, with its time."""

import json
from datetime import timedelta
from itertools import permutations
from typing import Any
from zlib import crc32

import pytest

from devices.models import Device
from telemetry.models import DeviceStatus
from telemetry.sql.devicestatus import MOST_OLDER
from telemetry.sql.reading import IncomingReading
from tests.conftest import Fleet
from tests.telemetry.presence.sweeping import after, status
from tests.telemetry.storing import readings_store


def reading(
    device: Device, seconds: float, received_s: float | None = None, **metrics: Any
) -> IncomingReading:
    at, received_at = after(seconds), after(seconds if received_s is None else received_s)
    names = crc32("\0".join(sorted(metrics)).encode())
    body = json.dumps(metrics).encode()
    ids = (device.pk, device.tenant_id)
    return IncomingReading(*ids, at, received_at, None, "telemetry", None, body, names)


def text(seconds: float) -> str:
    return f"{after(seconds):%Y-%m-%dT%H:%M:%S.%fZ}"


def latest(device: Device) -> tuple[dict[str, Any], dict[str, Any] | None]:
    told = status(device)
    assert told.metrics is not None
    return told.metrics, told.older


def test_a_metric_that_the_latest_reading_lacks_is_kept_with_its_time(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, 0, cpu=97.2, ram=3)])
    readings_store(readings=[reading(acme.device, 10, load1=0.2)])
    readings_store(readings=[reading(acme.device, 20, load1=0.3, ram=4)])

    assert latest(acme.device) == ({"load1": 0.3, "ram": 4}, {"cpu": [97.2, text(0)]})
    assert status(acme.device).metrics_at == after(20)


def test_readings_of_one_moment_are_all_shown(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, 0, cpu=97.2), reading(acme.device, 0, load1=0.2)])

    assert latest(acme.device) == ({"load1": 0.2}, {"cpu": [97.2, text(0)]})


def test_the_order_of_arrival_does_not_matter(acme: Fleet) -> None:
    parts = [
        reading(acme.device, 0, a=1, b=1),
        reading(acme.device, 1, a=2),
        reading(acme.device, 2, b=3),
        reading(acme.device, 3, c=4),
    ]
    for n, order in enumerate(permutations(parts)):
        device = Device.objects.create(tenant=acme.tenant, device_id=f"d{n}")
        own = [one._replace(device_id=device.pk) for one in order]
        cut = n % 4
        for batch in filter(None, (own[:cut], own[cut:])):
            readings_store(readings=batch)

        expected = ({"c": 4}, {"a": [2, text(1)], "b": [3, text(2)]})
        assert latest(device) == expected, order


def test_a_clock_that_was_ahead_freezes_nothing(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, 7200, 0, cpu=1)])
    readings_store(readings=[reading(acme.device, 10, cpu=2)])

    assert latest(acme.device) == ({"cpu": 2}, None)
    assert status(acme.device).metrics_at == after(10)


def test_a_late_reading_with_the_same_names_does_not_replace_a_newer_one(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, 20, cpu=2)])
    readings_store(readings=[reading(acme.device, 0, 21, cpu=1)])

    assert latest(acme.device) == ({"cpu": 2}, None)
    assert status(acme.device).last_seen == after(21)


def test_at_most_256_are_kept_the_longest_unheard_go_first(acme: Fleet) -> None:
    for second in range(6):
        metrics = {f"m{second}_{n}": n for n in range(64)}
        readings_store(readings=[reading(acme.device, second, **metrics)])
    readings_store(readings=[reading(acme.device, 10, cpu=1)])

    _, older = latest(acme.device)
    assert older is not None and len(older) == MOST_OLDER
    assert {name.split("_")[0] for name in older} == {"m2", "m3", "m4", "m5"}


def test_one_batch_with_more_names_keeps_as_many(acme: Fleet) -> None:
    parts = [
        reading(acme.device, second, **{f"m{second}_{n}": n for n in range(100)})
        for second in range(5)
    ]
    readings_store(readings=parts)

    metrics, older = latest(acme.device)
    assert "m4_0" in metrics and older is not None and len(older) == MOST_OLDER
    assert "m0_0" not in older and "m3_99" in older


@pytest.mark.parametrize(("age_h", "is_alive"), [(23, True), (25, False)])
def test_a_message_older_than_a_day_proves_nothing(acme: Fleet, age_h: int, is_alive: bool) -> None:
    device = Device.objects.create(
        tenant=acme.tenant, device_id="weekly", expected_interval_s=7 * 86_400
    )
    sent_s = -timedelta(hours=age_h).total_seconds()
    readings_store(readings=[reading(device, sent_s, 0, cpu=1)])

    assert (status(device).state == "online") is is_alive


def test_metrics_from_before_their_time_was_kept_have_the_time_of_receipt(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, 0, a=1, b=2)])
    unknown = {"metrics_at": None, "metrics_names": None, "older": None}
    DeviceStatus.objects.filter(device=acme.device).update(**unknown)

    readings_store(readings=[reading(acme.device, 10, a=5)])

    assert latest(acme.device) == ({"a": 5}, {"b": [2, text(0)]})


def test_a_backlog_shows_what_was_not_heard_since_but_nobody_online(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, 0, 3600, a=1, b=1)])
    assert status(acme.device).state == "new"
    assert status(acme.device).older == {"a": [1, text(0)], "b": [1, text(0)]}

    readings_store(readings=[reading(acme.device, 3700, a=2)])
    readings_store(readings=[reading(acme.device, 100, 3800, a=3, c=3)])

    assert latest(acme.device) == ({"a": 2}, {"b": [1, text(0)], "c": [3, text(100)]})
