from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import member
from tests.telemetry.api.telling import beat, pages
from tests.telemetry.past import moment


def test_heartbeats_come_newest_first(acme: Fleet) -> None:
    for n in range(5):
        beat(acme.device, moment(60 * n + 1), n)
    found = pages(member(acme, Role.VIEWER), "devices/acme-phone/heartbeats?limit=2&hours=1")
    assert [one["battery_pct"] for one in found] == [0, 1, 2, 3, 4]
    assert found[0]["address"] == "10.0.0.7"
