from datetime import timedelta

from devices.tenancy.access import Role
from telemetry.presence.pausing import presence_pause, presence_resume
from tests.conftest import Fleet
from tests.devices.api_callers import member
from tests.telemetry.api.telling import pages
from tests.telemetry.past import moment


def test_presence_comes_newest_first_with_how_long_it_lasted(acme: Fleet) -> None:
    start = moment(100)
    for n in range(4):
        act = presence_resume if n % 2 else presence_pause
        why = {} if n % 2 else {"why": "paint"}
        act(device_ids=[acme.device.pk], by="ann", ts=start + timedelta(seconds=n), **why)

    found = pages(member(acme, Role.VIEWER), "devices/acme-phone/presence?limit=1")

    assert [one["state"] for one in found] == ["new", "paused"] * 2
    assert [one["lasted_s"] for one in found] == [None, 1, 1, 1]
    assert found[1]["reason"] == "paused by ann: paint"
