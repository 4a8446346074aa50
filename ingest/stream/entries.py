"""Entries in the stream: each holds messages from one accepted request.

`is_pending` says that their devices were not approved when the messages arrived. A newer version
reads entries of an older one, so add fields only at the end, with defaults.
"""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import Struct

from ingest.messages.heartbeat import HeartbeatMessage
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.vitals import NAMES, NONE_NAMED, Value


class HeartbeatEntry(Struct, frozen=True, gc=False, array_like=True, tag="hb"):
    """An accepted heartbeat. `named` are its vitals in the order of NAMED_VITALS, fewer if it was
    written when there were fewer."""

    tenant_id: int
    received_at: datetime
    address: str | None
    device_id: int
    time: datetime | None = None
    named: tuple[Value, ...] = ()
    vitals: dict[str, Any] | None = None
    is_pending: bool = False

    @property
    def count(self) -> int:
        return 1

    @property
    def days(self) -> set[date]:
        """The UTC days of its messages, by the device's clock."""
        return {(self.time or self.received_at).date()}

    def rows(self) -> Iterator[IncomingHeartbeat]:
        yield IncomingHeartbeat(
            device_id=self.device_id,
            tenant_id=self.tenant_id,
            time=self.time,
            received_at=self.received_at,
            address=self.address,
            named=(*self.named, *NONE_NAMED)[: len(NAMES)],
            vitals=msgspec.json.encode(self.vitals).decode() if self.vitals else None,
        )


def heartbeat_entry(
    *,
    message: HeartbeatMessage,
    tenant_id: int,
    device_id: int,
    received_at: datetime,
    address: str | None = None,
    is_pending: bool = False,
) -> HeartbeatEntry:
    """The heartbeat as an entry of the stream."""
    return HeartbeatEntry(
        tenant_id=tenant_id,
        received_at=received_at,
        address=address,
        device_id=device_id,
        time=message.time,
        named=message.named,
        vitals=message.vitals or None,
        is_pending=is_pending,
    )


class EntryReading(Struct, frozen=True, gc=False, array_like=True):
    """One of the readings in an entry. `metrics` is JSON, and `names` a hash of its names."""

    device_id: int
    time: datetime
    seq: int | None
    msg_type: str
    site: str | None
    metrics: bytes
    names: int = 0


class ReadingsEntry(Struct, frozen=True, gc=False, array_like=True, tag="rd"):
    """The accepted readings from one request."""

    tenant_id: int
    received_at: datetime
    address: str | None
    readings: list[EntryReading]
    is_pending: bool = False

    @property
    def count(self) -> int:
        return len(self.readings)

    @property
    def days(self) -> set[date]:
        """The UTC days of its messages, by the device's clock."""
        return {one.time.date() for one in self.readings}

    def rows(self) -> Iterator[IncomingReading]:
        tenant_id, received_at = self.tenant_id, self.received_at
        for one in self.readings:
            yield IncomingReading(
                one.device_id,
                tenant_id,
                one.time,
                received_at,
                one.seq,
                one.msg_type,
                one.site,
                one.metrics,
                one.names,
            )


Entry = HeartbeatEntry | ReadingsEntry

encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Entry)


def decode(data: bytes) -> Entry:
    """Raises msgspec.DecodeError for data that no version of Rollcall has written."""
    return _decoder.decode(data)
