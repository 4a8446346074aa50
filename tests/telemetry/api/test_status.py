from datetime import datetime, timedelta

from devices.tenancy.access import Role
from telemetry.presence.refusing import RefusedContact, refused_note
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


def test_status_tells_what_was_refused_and_what_was_left_out(acme: Fleet, rival: Fleet) -> None:
    client = member(acme, Role.VIEWER)
    told = send(client, "get", "devices/acme-phone/status").json()
    assert (told["last_refused"], told["last_ignored"]) == (None, None)
    reason, sample = "`battery_pct` 255, at most 100", '{"battery_pct": 255}'
    of = acme.device.pk, acme.tenant.pk
    now = moment()  # read once
    at, since = now - timedelta(seconds=10), now - timedelta(seconds=20)
    contacts = [
        RefusedContact(*of, since, 2, reason, sample),
        RefusedContact(*of, at, 3, reason, sample),
        RefusedContact(*of, at, 1, "`rssi_dbm` 99", "…", accepted=True),
    ]
    refused_note(contacts=contacts, collected_until=now)

    told = send(client, "get", "devices/acme-phone/status").json()

    assert told["state"] == "refused"
    assert told["reason"].startswith("speaks, but 5 messages were refused since")
    refused = told["last_refused"]
    assert datetime.fromisoformat(refused.pop("at")) == at
    assert datetime.fromisoformat(refused.pop("since")) == since
    assert refused == {"count": 5, "reason": reason, "sample": sample}
    assert told["last_ignored"]["reason"] == "`rssi_dbm` 99"
    devices = send(client, "get", "devices?state=refused").json()["results"]
    assert [one["device_id"] for one in devices] == ["acme-phone"]
    assert send(member(rival, Role.VIEWER), "get", "devices?state=refused").json()["results"] == []
