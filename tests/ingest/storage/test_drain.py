from typing import Any

import pytest

from devices.models import Device
from ingest.ledger.balances import balance_read, shards_known
from ingest.models import RejectedMessage
from ingest.storage.rejected import name_in
from ingest.stream import shards
from ingest.stream.entries import EntryReading, HeartbeatEntry
from telemetry.models import DeviceStatus, Heartbeat, Reading
from tests.conftest import Fleet
from tests.ingest.storage.draining import (
    append,
    drain,
    ledger,
    moment,
    reading,
    status_refused,
)

pytestmark = pytest.mark.usefixtures("valkey")


def test_accepted_messages_are_stored_and_leave_the_stream(acme: Fleet, rival: Fleet) -> None:
    append(acme, *(reading(acme.device, n) for n in range(5)))
    append(rival, reading(rival.device))
    shards.append(HeartbeatEntry(acme.tenant.pk, moment(), "10.0.0.7", acme.device.pk))

    assert drain() is not None

    assert Reading.objects.filter(tenant=acme.tenant).count() == 5
    assert Reading.objects.filter(tenant=rival.tenant).count() == 1
    assert Heartbeat.objects.filter(tenant=acme.tenant).count() == 1
    assert DeviceStatus.objects.get(device=acme.device).metrics == {"temp_c": 21.5}
    assert all(count == 0 for count in shards.waiting_counts(0).values())
    assert shards.oldest_waiting_at(shards_known()) is None
    assert balance_read().residual == 0
    assert ledger(acme) == {"accepted": 6, "stored": 6}


def test_duplicates_are_counted_wherever_they_come_from(acme: Fleet) -> None:
    append(acme, reading(acme.device, 1), reading(acme.device, 2), reading(acme.device, 1))
    drain()
    append(acme, reading(acme.device, 2), reading(acme.device, 3))
    drain()

    assert Reading.objects.filter(device=acme.device).count() == 3
    assert ledger(acme)["stored"] == 3
    assert ledger(acme)["duplicate"] == 2
    assert balance_read().residual == 0


def test_an_entry_that_was_stored_counts_once_when_its_drain_died_before_finishing_it(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(acme, *(reading(acme.device, n) for n in range(3)))

    def die(*arguments: Any) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "finish", die)
        with pytest.raises(ConnectionError):
            drain()
    assert Reading.objects.count() == 3
    assert shards.waiting_counts(0)["messages"] == 3

    drain()

    assert shards.waiting_counts(0)["messages"] == 0
    assert ledger(acme) == {"accepted": 3, "stored": 3}


def test_only_the_message_that_the_database_refuses_is_rejected(acme: Fleet) -> None:
    bad = EntryReading(acme.device.pk, moment(), 1, "telemetry", None, b'{"text": "a\\u0000b"}')
    append(acme, *(reading(acme.device, n + 1) for n in range(10)), bad, reading(acme.device, 99))

    drain()

    assert Reading.objects.count() == 11
    rejected = RejectedMessage.objects.get()
    assert (rejected.reason, rejected.device_id) == ("invalid_data", acme.device.pk)
    assert "\\u0000" in rejected.error
    assert '"metrics":{"text": "a\\u0000b"}' in rejected.payload
    assert ledger(acme)["rejected"] == 1
    assert balance_read().residual == 0


@pytest.mark.parametrize("in_one_entry", [True, False])
def test_only_the_message_that_its_status_refuses_is_rejected(
    acme: Fleet, in_one_entry: bool
) -> None:
    other = Device.objects.create(tenant=acme.tenant, device_id="other")
    good = [reading(one, n) for n in range(-5, 0) for one in (acme.device, other)]
    bad = reading(acme.device, temp_c=-300)
    for batch in [[*good, bad]] if in_one_entry else [good, [bad]]:
        append(acme, *batch)
    shards.append(HeartbeatEntry(acme.tenant.pk, moment(), "10.0.0.7", acme.device.pk))

    with status_refused(acme.device, "NEW.metrics @> '{\"temp_c\": -300}'"):
        drain()

    assert Reading.objects.count() == 10
    assert Heartbeat.objects.count() == 1
    rejected = RejectedMessage.objects.get()
    assert (rejected.reason, rejected.device_id) == ("invalid_data", acme.device.pk)
    assert (rejected.error, "-300" in rejected.payload) == ("no such status", True)
    statuses = DeviceStatus.objects.filter(tenant=acme.tenant)
    assert [(one.state, one.metrics) for one in statuses] == [("online", {"temp_c": 21.5})] * 2
    assert all(count == 0 for count in shards.waiting_counts(0).values())
    assert ledger(acme) == {"accepted": 12, "stored": 11, "rejected": 1}
    assert balance_read().residual == 0


def test_a_device_whose_status_refuses_all_is_the_only_one_that_is_not_stored(
    acme: Fleet, rival: Fleet
) -> None:
    append(acme, *(reading(acme.device, n) for n in range(3)))
    append(rival, reading(rival.device))
    shards.append(HeartbeatEntry(acme.tenant.pk, moment(), "10.0.0.7", acme.device.pk))

    with status_refused(acme.device, "true"):
        drain()

    assert Reading.objects.get().device == rival.device
    assert not Heartbeat.objects.exists()
    assert [one.error for one in RejectedMessage.objects.all()] == ["no such status"] * 4
    assert (ledger(acme)["rejected"], ledger(rival)["stored"]) == (4, 1)
    assert balance_read().residual == 0


def test_messages_of_a_deleted_device_are_kept_as_rejected(acme: Fleet) -> None:
    other = Device.objects.create(tenant=acme.tenant, device_id="other")
    append(acme, reading(other), reading(acme.device))
    other.delete()

    drain()

    assert Reading.objects.count() == 1
    message = RejectedMessage.objects.get()
    assert message.reason == "unknown_device"
    assert name_in(message.payload) == "other"
    assert balance_read().residual == 0


def test_messages_of_a_deleted_tenant_go_with_it_and_stop_nobody(acme: Fleet, rival: Fleet) -> None:
    append(acme, reading(acme.device))
    append(rival, reading(rival.device))
    acme.tenant.delete()

    drain()

    assert Reading.objects.filter(tenant=rival.tenant).count() == 1
    assert shards.oldest_waiting_at(shards_known()) is None


def test_messages_of_a_pending_device_are_held_until_it_is_approved(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    append(acme, reading(acme.device, 1), is_pending=True)
    drain()
    assert RejectedMessage.objects.get().reason == "pending_device"
    Device.objects.filter(pk=acme.device.pk).update(is_pending=False)
    append(acme, reading(acme.device, 2), is_pending=True)

    drain()

    assert Reading.objects.count() == 1
    assert ledger(acme)["rejected"] == 1


def test_late_messages_are_stored_and_counted_and_touch_no_status(acme: Fleet) -> None:
    append(acme, reading(acme.device, -7200))

    drain()

    assert ledger(acme)["late"] == 1
    assert DeviceStatus.objects.get(device=acme.device).state == "new"


def test_an_entry_that_nobody_can_read_is_set_aside_and_stays_in_flight(acme: Fleet) -> None:
    append(acme, reading(acme.device, 1))
    shards.connection().xadd(shards.stream_key(0), {"d": b"\xc1"})

    drain()

    assert Reading.objects.count() == 1
    assert shards.connection().xlen(f"{shards.stream_key(0)}:unreadable") == 1


def test_messages_of_thousands_of_days_are_stored_in_several_transactions(acme: Fleet) -> None:
    day = 86_400
    append(acme, *(reading(acme.device, -day * n) for n in range(300)))
    append(acme, *(reading(acme.device, -day * n) for n in range(300, 600)))

    drain()

    assert Reading.objects.count() == 600
    assert balance_read().residual == 0
