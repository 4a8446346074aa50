"""Each named vital in the table passes through every step of a heartbeat."""

import json
from typing import Any

import msgspec
import pytest

from devices.models import Device
from devices.tenancy.access import Role
from ingest.messages.heartbeat import heartbeat_decode
from ingest.models import RejectedMessage
from ingest.storage.rejected import row_of
from ingest.stream import shards
from ingest.stream.entries import HeartbeatEntry, decode, encode, heartbeat_entry
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.vitals import (
    LONGEST_TEXT,
    NAMED_VITALS,
    NAMES,
    OTHER_NAMES,
    SENTINELS,
    Vital,
)
from tests.conftest import Fleet
from tests.devices.api_callers import member
from tests.ingest.way import drain, now

SAID: dict[str, Any] = {
    vital.name: "a\tb" if vital.type is str else vital.low if vital.low is not None else 1.5
    for vital in NAMED_VITALS
}


def decoded(body: dict[str, Any]) -> Any:
    return heartbeat_decode(json.dumps(body).encode(), received_at=now())


def accept(device: Device, body: dict[str, Any]) -> None:
    """As the door does."""
    shards.append(
        heartbeat_entry(
            message=decoded(body),
            tenant_id=device.tenant_id,
            device_id=device.pk,
            received_at=now(),
            is_pending=device.is_pending,
        )
    )


@pytest.mark.parametrize("vital", NAMED_VITALS, ids=NAMES)
def test_what_is_out_of_its_range_or_type_is_left_out_and_named(vital: Vital) -> None:
    wrong: list[Any] = [{}, "x" * (LONGEST_TEXT + 1)]
    wrong += [] if vital.low is None else [vital.low - 1]
    wrong += [] if vital.high is None else [vital.high + 1]
    for value in (*wrong, *SENTINELS.get(vital.name, ())):
        message = decoded({vital.name: value, "cpu_pct": 3})
        assert [one.field for one in message.ignored] == [f"$.{vital.name}"]
        assert message.named == (None,) * len(NAMES)
        assert message.vitals == {"cpu_pct": 3}


def test_other_names_and_sentinels_are_of_named_vitals() -> None:
    assert {*OTHER_NAMES.values(), *SENTINELS} <= set(NAMES)
    assert not set(OTHER_NAMES) & set(NAMES)


@pytest.mark.usefixtures("valkey")
@pytest.mark.django_db(transaction=True)
def test_all_of_them_go_the_whole_way(acme: Fleet) -> None:
    accept(acme.device, SAID | {"cpu_pct": 3})
    drain()

    viewer = member(acme, Role.VIEWER)
    [stored] = viewer.get("/api/v1/devices/acme-phone/heartbeats").json()["results"]
    latest = viewer.get("/api/v1/devices/acme-phone/status").json()
    for shown in (stored, latest):
        assert {name: shown[name] for name in NAMES} == SAID
        assert shown["vitals"] == {"cpu_pct": 3}


@pytest.mark.usefixtures("valkey")
@pytest.mark.django_db(transaction=True)
def test_a_rejected_message_has_all_of_them_and_is_the_row_that_was_rejected(acme: Fleet) -> None:
    acme.device.is_pending = True
    acme.device.save()
    accept(acme.device, SAID | {"cpu_pct": 3, "net": None})
    drain()

    message = RejectedMessage.objects.get()
    kept = {"device_id": "acme-phone", **SAID, "cpu_pct": 3, "net": None}
    assert json.loads(message.payload) == kept
    row: Any = row_of(message)
    assert row.named == tuple(SAID.values())
    assert json.loads(row.vitals) == {"cpu_pct": 3, "net": None}


@pytest.mark.parametrize("length", [0, 1, len(NAMES), len(NAMES) + 1])
def test_an_entry_of_another_version_has_fewer_or_more(length: int) -> None:
    entry = HeartbeatEntry(1, now(), None, 1, named=tuple(float(n) for n in range(length)))

    [row] = decode(encode(entry)).rows()

    known = [float(n) for n in range(min(length, len(NAMES)))]
    assert isinstance(row, IncomingHeartbeat)
    assert row.named == (*known, *[None] * (len(NAMES) - len(known)))


def test_an_entry_of_before_the_table_is_not_misread() -> None:
    flat = ["hb", 1, now(), None, 1, None, None, None, None, None, None, False]
    with pytest.raises(msgspec.DecodeError):
        decode(msgspec.msgpack.encode(flat))
