import pytest

from devices.models import Device
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import T0
from tests.telemetry.storing import heartbeats_store


@pytest.fixture
def heard(acme: Fleet) -> Device:
    """A device last heard at T0, expected every 60 s with 30 s grace."""
    beat = heartbeat(acme.device, T0, address="10.0.0.7", battery_pct=12)
    heartbeats_store(heartbeats=[beat])
    return acme.device
