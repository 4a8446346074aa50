"""The stream between the door and the writer: a Valkey stream read through a consumer group.

An entry is one accepted request. It stays until the transaction that stored it has committed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec
import redis
from django.conf import settings
from msgspec import Struct
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from devices.credentials import SpeakingDevice
from ingest.messages import HeartbeatMessage, Scalar
from telemetry.sql.heartbeat import IncomingHeartbeat

STREAM = "ingest:{0}"
REFUSED = "ingest:{0}:refused"
GROUP = "drain"
FIELD = b"d"
# Entries that a consumer of a slot which is gone left behind are taken over after this.
ABANDONED_AFTER_MS = 60_000


class StreamAway(Exception):
    """The stream cannot take an entry just now; nothing was accepted."""


class HeartbeatEntry(Struct, frozen=True, gc=False, array_like=True, tag="hb"):
    """An accepted heartbeat. Further fields may be added at the end, with defaults: entries
    written by an older version are read by a newer one."""

    device_id: int
    tenant_id: int
    received_at: datetime
    address: str | None
    time: datetime | None = None
    battery_pct: float | None = None
    rssi_dbm: float | None = None
    uptime_s: float | None = None
    version: str | None = None
    vitals: dict[str, Scalar] | None = None

    def row(self) -> IncomingHeartbeat:
        return IncomingHeartbeat(
            device_id=self.device_id,
            tenant_id=self.tenant_id,
            time=self.time,
            received_at=self.received_at,
            address=self.address,
            battery_pct=self.battery_pct,
            rssi_dbm=self.rssi_dbm,
            uptime_s=self.uptime_s,
            version=self.version,
            vitals=msgspec.json.encode(self.vitals).decode() if self.vitals else None,
        )


class Waiting(NamedTuple):
    """An entry that is not stored yet."""

    entry_id: bytes
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HeartbeatEntry).decode


@cache
def connection() -> redis.Redis:
    """The process's connections to the stream. A call that fails is not tried again here: the
    device or the drain tries again, knowing what it may repeat."""
    return redis.Redis.from_url(
        settings.INGEST_STREAM_URL.replace("valkey", "redis", 1),
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


def heartbeat_append(
    *,
    device: SpeakingDevice,
    message: HeartbeatMessage,
    received_at: datetime,
    address: str | None,
) -> None:
    """Appends an accepted heartbeat; once this returns, it is on Valkey's disk.

    Raises StreamAway if Valkey is away, full or starting.
    """
    body = message.body
    entry = HeartbeatEntry(
        device.id,
        device.tenant_id,
        received_at,
        address,
        message.time,
        body.battery_pct,
        body.rssi_dbm,
        body.uptime_s,
        body.version,
        message.vitals or None,
    )
    try:
        connection().xadd(STREAM, {FIELD: _encode(entry)})
    except RedisError as error:
        raise StreamAway(str(error)) from error


def entry_decode(data: bytes) -> HeartbeatEntry:
    """Raises msgspec.DecodeError (or its subclass) for what no version has written."""
    return _decode(data)


def group_ensure() -> None:
    """Makes the stream and its consumer group, from the beginning, if they are not there."""
    try:
        connection().xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def read_own(consumer: str, *, after: bytes, count: int) -> list[Waiting]:
    """What was delivered to this consumer before and never acknowledged, from `after` on."""
    return _entries(connection().xreadgroup(GROUP, consumer, {STREAM: after}, count=count))


def read_new(consumer: str, *, count: int, block_ms: int) -> list[Waiting]:
    """Entries that no consumer had yet; waits for the first one up to `block_ms`."""
    return _entries(
        connection().xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count, block=block_ms)
    )


def claim_abandoned(consumer: str, *, count: int) -> list[Waiting]:
    """Takes over entries that another consumer has not finished for a minute."""
    answer = connection().xautoclaim(
        STREAM, GROUP, consumer, min_idle_time=ABANDONED_AFTER_MS, count=count
    )
    return _waiting(answer[1])


def finish(entry_ids: Sequence[bytes]) -> None:
    """Acknowledges and removes entries that are stored."""
    with connection().pipeline(transaction=True) as pipeline:
        pipeline.xack(STREAM, GROUP, *entry_ids)
        pipeline.xdel(STREAM, *entry_ids)
        pipeline.execute()


def refuse(entry: Waiting, *, reason: str) -> None:
    """Sets an entry aside that the database will not take, with the reason."""
    with connection().pipeline(transaction=True) as pipeline:
        pipeline.xadd(REFUSED, {FIELD: entry.data, b"reason": reason})
        pipeline.xack(STREAM, GROUP, entry.entry_id)
        pipeline.xdel(STREAM, entry.entry_id)
        pipeline.execute()


def waiting_count() -> int:
    """How many accepted requests are not stored yet."""
    return int(connection().xlen(STREAM))


def oldest_waiting_at() -> datetime | None:
    """When the oldest entry that is not stored yet was accepted; None if none waits."""
    entries: Any = connection().xrange(STREAM, count=1)
    if not entries:
        return None
    milliseconds = int(entries[0][0].split(b"-")[0])
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _entries(answer: Any) -> list[Waiting]:
    return _waiting(answer[0][1]) if answer else []


def _waiting(entries: Any) -> list[Waiting]:
    return [Waiting(entry_id, fields.get(FIELD, b"")) for entry_id, fields in entries if fields]
