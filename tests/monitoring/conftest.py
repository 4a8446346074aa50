from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from telemetry.presence.sweep import presence_sweep
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store


@pytest.fixture
def silent(acme: Fleet) -> Device:
    """A device that was heard once and has been offline since."""
    now = timezone.now()
    seen = now - timedelta(seconds=200)
    beat = heartbeat(acme.device, seen, address="10.0.0.7", battery_pct=12, version="<b>7</b>")
    heartbeats_store(heartbeats=[beat])
    for age in range(190, -1, -10):
        ts = now - timedelta(seconds=age)
        presence_sweep(ts=ts, heard_until=ts)
    return acme.device


@pytest.fixture
def pending(acme: Fleet) -> Device:
    """A device that registered itself."""
    return Device.objects.create(tenant=acme.tenant, device_id="newcomer", is_pending=True)
