from datetime import datetime, timedelta

from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api_callers import member, send
from tests.telemetry.api.telling import beat
from tests.telemetry.past import moment, store


def test_status_tells_the_state_the_reason_and_the_latest_values(acme: Fleet) -> None:
    seen = moment(5)
    beat(acme.device, seen, 77)
    store(acme.device, seen + timedelta(seconds=1), {"temp_c": 21.5, "door": True, "note": "ok"})

    answer = send(member(acme, Role.VIEWER), "get", "devices/acme-phone/status")

    told = answer.json()
    assert told["tenant"] == "acme"
    assert told["device_id"] == "acme-phone"
    assert told["state"] == "online"
    assert told["reason"] == "first heartbeat, from 10.0.0.7, battery 77 %"
    assert datetime.fromisoformat(told["since"]) == seen
    assert told["battery_pct"] == 77
    assert told["metrics"] == {"temp_c": 21.5, "door": True, "note": "ok"}
    assert told["clock_skew_s"] == 0
    again = send(
        member(acme, Role.MANAGER),
        "get",
        "devices/acme-phone/status",
        HTTP_IF_NONE_MATCH=answer["ETag"],
    )
    assert again.status_code == 304
