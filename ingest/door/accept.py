"""Accepts decoded messages, from HTTP or MQTT: finds their devices, applies limits, and appends the
messages to the stream."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings

from devices.fleet.keys import Speaker
from devices.fleet.registration import KnownDevice
from ingest.door.directory import directory
from ingest.door.limits import Messages, is_limited, limits_give_back, limits_take
from ingest.door.refusals import Code, refusals_note
from ingest.door.refused import IgnoredIn, ignored_note
from ingest.messages.errors import ForeignDevice, InvalidMessage, LimitReached
from ingest.messages.heartbeat import HeartbeatMessage
from ingest.messages.readings import ReadingMessage, Refusal
from ingest.stream.entries import Entry, EntryReading, ReadingsEntry, heartbeat_entry
from ingest.stream.shards import StreamAway, StreamFull, append


class Arrival(NamedTuple):
    """Who sent a request, when we received it, and from which address."""

    speaker: Speaker
    received_at: datetime
    address: str | None


class ReadingEntries(NamedTuple):
    """Readings with their devices: what to append, how many there are, and which were refused.

    `taken` is what they took from limits."""

    entries: list[ReadingsEntry]
    accepted: int
    refused: list[Refusal]
    taken: Messages = {}


class _Why(NamedTuple):
    """The reason messages that name a device are refused; see Refusal."""

    code: str
    field: str
    reason: str
    retry_after_s: float = 0.0


def heartbeat_accept(*, message: HeartbeatMessage, arrival: Arrival, data: bytes) -> int:
    """Returns the device's interval in seconds, once the heartbeat is on disk in the stream. `data`
    is the heartbeat as sent.

    Raises InvalidMessage (no such device), ForeignDevice, LimitReached, StreamAway and
    OperationalError.
    """
    speaker = arrival.speaker
    device = device_of(message.device_id, speaker)
    taken: Messages = {}
    if is_limited(speaker, (device,)):
        taken, reached = limits_take(speaker=speaker, messages={device: 1})
        if device.id in reached:
            raise reached[device.id]
    entry = heartbeat_entry(
        message=message,
        tenant_id=speaker.tenant_id,
        device_id=device.id,
        received_at=arrival.received_at,
        address=arrival.address,
        is_pending=device.is_pending,
    )
    _append([entry], speaker=speaker, taken=taken)
    if message.ignored:
        left_out = IgnoredIn(data, arrival.received_at, device.id, message.ignored)
        ignored_note(left_out, tenant_id=speaker.tenant_id)
    return device.interval_s


def readings_accept(
    *, messages: Sequence[ReadingMessage], arrival: Arrival
) -> tuple[int, list[Refusal]]:
    """Returns how many were accepted and are now on disk in the stream, and the refused ones.

    Raises LimitReached (the tenant's), StreamAway and OperationalError; then nothing was accepted.
    """
    put = readings_entries(messages=messages, arrival=arrival)
    if put.entries:
        _append(put.entries, speaker=arrival.speaker, taken=put.taken)
    return put.accepted, put.refused


def _append(entries: Sequence[Entry], *, speaker: Speaker, taken: Messages) -> None:
    """Appends a request's entries, and counts them as refused if the stream is full.

    If nothing was appended, the tokens go back to the limits: the device sends the messages again.
    """
    try:
        append(*entries)
    except StreamAway as error:
        limits_give_back(speaker=speaker, taken=taken)
        if isinstance(error, StreamFull):
            waiting = f"{settings.INGEST_SHARD_MAX_BYTES / 1024**2:.7g} MiB wait in a shard"
            refusals_note(
                tenant_id=speaker.tenant_id,
                device=None,
                code=Code.BACKLOG,
                reason=f"messages came faster than they were stored: {waiting}",
                count=sum(entry.count for entry in entries),
            )
        raise


def readings_entries(*, messages: Sequence[ReadingMessage], arrival: Arrival) -> ReadingEntries:
    """The readings with their devices: one entry, and a second one for pending devices.

    Raises LimitReached (the tenant's), StreamAway and OperationalError.
    """
    if not messages:
        return ReadingEntries([], 0, [])
    devices, refused = _devices_of(messages, arrival.speaker)
    taken: Messages = {}
    if is_limited(arrival.speaker, devices.values()):
        named = [devices[one.device_id] for one in messages if one.device_id in devices]
        taken, reached = limits_take(speaker=arrival.speaker, messages=Counter(named))
        refused |= _beyond_limits(devices, reached)
    held: list[EntryReading] = []
    clear: list[EntryReading] = []
    for _, name, time, seq, msg_type, site, metrics, names in messages:
        device = devices.get(name)
        if device is not None:
            reading = EntryReading(device.id, time, seq, msg_type, site, metrics, names)
            (held if device.is_pending else clear).append(reading)
    refusals = [
        Refusal(one.position, *refused[one.device_id])
        for one in messages
        if one.device_id in refused
    ]
    tenant_id = arrival.speaker.tenant_id
    entries = [
        ReadingsEntry(tenant_id, arrival.received_at, arrival.address, readings, is_pending)
        for readings, is_pending in ((clear, False), (held, True))
        if readings
    ]
    return ReadingEntries(entries, len(clear) + len(held), refusals, taken)


def device_of(name: str | None, speaker: Speaker) -> KnownDevice:
    """The device that a message belongs to, by the name in the message.

    Raises InvalidMessage (no such device), ForeignDevice and OperationalError.
    """
    if speaker.id is not None:
        is_own = name in (None, speaker.device_id) or directory.own_names(speaker, (name,))
        if not is_own:
            raise ForeignDevice(_foreign(speaker, name))
        return _itself(speaker, speaker.id)
    if name is None:
        raise InvalidMessage("$.device_id", "a gateway's message must name its device")
    resolved = directory.resolve(speaker, (name,))
    if name in resolved.refused:
        raise InvalidMessage("$.device_id", resolved.refused[name])
    return resolved.devices[name]


def _devices_of(
    messages: Sequence[ReadingMessage], speaker: Speaker
) -> tuple[dict[str | None, KnownDevice], dict[str | None, _Why]]:
    """Devices by the names in the messages, and for all other names why they are refused."""
    # In the order of the messages: a new device keeps its first spelling.
    names = list(dict.fromkeys(message.device_id for message in messages))
    devices: dict[str | None, KnownDevice] = {}
    refused: dict[str | None, _Why] = {}
    if speaker.id is not None:
        own = _itself(speaker, speaker.id)
        own_names = directory.own_names(speaker, names)
        for name in names:
            if name in own_names:
                devices[name] = own
            else:
                refused[name] = _Why("forbidden", "$.device_id", _foreign(speaker, name))
        return devices, refused
    if None in names:
        words = "a gateway's message must name its device"
        refused[None] = _Why("invalid", "$.device_id", words)
    resolved = directory.resolve(speaker, [name for name in names if name is not None])
    devices.update(resolved.devices)
    for name, reason in resolved.refused.items():
        refused[name] = _Why("unknown_device", "$.device_id", reason)
    return devices, refused


def _beyond_limits(
    devices: dict[str | None, KnownDevice], reached: Mapping[int, LimitReached]
) -> dict[str | None, _Why]:
    """Removes the devices whose limit is reached; returns the reasons, by their names."""
    beyond = {name: reached[one.id] for name, one in devices.items() if one.id in reached}
    for name in beyond:
        del devices[name]
    return {
        name: _Why("limit", "$", str(limit), limit.retry_after_s) for name, limit in beyond.items()
    }


def _itself(speaker: Speaker, device: int) -> KnownDevice:
    """The speaker as a device, if its key belongs to one."""
    return KnownDevice(device, speaker.is_pending, speaker.interval_s, speaker.limit)


def _foreign(speaker: Speaker, name: str | None) -> str:
    return f"This key belongs to {speaker.device_id}, but the message names {name}"
