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
        ids, ts = [acme.device.pk], start + timedelta(seconds=n)
        if n % 2:
            presence_resume(device_ids=ids, by="ann", ts=ts)
        else:
            presence_pause(device_ids=ids, by="ann", why="paint", ts=ts)

    found = pages(member(acme, Role.VIEWER), "devices/acme-phone/presence?limit=1")

    assert [one["state"] for one in found] == ["new", "paused"] * 2
    assert [one["lasted_s"] for one in found] == [None, 1, 1, 1]
    assert found[1]["reason"] == "paused by ann: paint"
