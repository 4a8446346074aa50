"""What happens to a decoded message at the door, whichever way it came: it is put to its device,
appended to the stream, and thereby accepted."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from devices.credentials import Speaker
from devices.registration import KnownDevice
from ingest.directory import directory
from ingest.entries import EntryReading, HeartbeatEntry, ReadingsEntry
from ingest.messages import HeartbeatMessage
from ingest.readings import ReadingMessage, Refusal
from ingest.refusal import ForeignDevice, InvalidMessage
from ingest.stream import append


class Origin(NamedTuple):
    """Who sent a request, when we received it, and from which address."""

    speaker: Speaker
    received_at: datetime
    address: str | None


class ReadingEntries(NamedTuple):
    """Readings put to their devices: what to append, how many they are, and who was refused."""

    entries: list[ReadingsEntry]
    accepted: int
    refused: list[Refusal]


def heartbeat_accept(*, message: HeartbeatMessage, origin: Origin) -> int:
    """The device's interval in seconds, once the heartbeat is on disk in the stream.

    Raises InvalidMessage (no such device), ForeignDevice, StreamAway and OperationalError.
    """
    device = device_of(message.body.device_id, origin.speaker)
    append(heartbeat_entry(message=message, device=device, origin=origin))
    return device.interval_s


def readings_accept(
    *, messages: Sequence[ReadingMessage], origin: Origin
) -> tuple[int, list[Refusal]]:
    """How many were accepted, now on disk in the stream, and those that were refused.

    Raises StreamAway and OperationalError; then nothing was accepted.
    """
    put = readings_entries(messages=messages, origin=origin)
    if put.entries:
        append(*put.entries)
    return put.accepted, put.refused


def heartbeat_entry(
    *, message: HeartbeatMessage, device: KnownDevice, origin: Origin
) -> HeartbeatEntry:
    """The heartbeat as it stands in the stream."""
    body = message.body
    return HeartbeatEntry(
        origin.speaker.tenant_id,
        origin.received_at,
        origin.address,
        device.id,
        message.time,
        body.battery_pct,
        body.rssi_dbm,
        body.uptime_s,
        body.version,
        message.vitals or None,
        device.is_pending,
    )


def readings_entries(*, messages: Sequence[ReadingMessage], origin: Origin) -> ReadingEntries:
    """The readings, put to their devices: one entry, and one more for those that are pending.

    Raises OperationalError.
    """
    if not messages:
        return ReadingEntries([], 0, [])
    devices, refused = _devices_of(messages, origin.speaker)
    held: list[EntryReading] = []
    clear: list[EntryReading] = []
    for _, name, time, seq, msg_type, site, metrics in messages:
        device = devices.get(name)
        if device is not None:
            reading = EntryReading(device.id, time, seq, msg_type, site, metrics)
            (held if device.is_pending else clear).append(reading)
    refusals = [
        Refusal(one.position, *refused[one.device_id])
        for one in messages
        if one.device_id in refused
    ]
    tenant_id, received_at, address = origin.speaker.tenant_id, origin.received_at, origin.address
    entries = [
        ReadingsEntry(tenant_id, received_at, address, readings, is_pending)
        for readings, is_pending in ((clear, False), (held, True))
        if readings
    ]
    return ReadingEntries(entries, len(clear) + len(held), refusals)


def device_of(name: str | None, speaker: Speaker) -> KnownDevice:
    """The device that a message is of, by the name in it.

    Raises InvalidMessage (no such device), ForeignDevice and OperationalError.
    """
    if speaker.id is not None:
        if name not in (None, speaker.device_id):
            raise ForeignDevice(_foreign(speaker, name))
        return KnownDevice(speaker.id, speaker.is_pending, speaker.interval_s)
    if name is None:
        raise InvalidMessage("$.device_id", "a gateway's message must name its device")
    resolved = directory.resolve(speaker, (name,))
    if name in resolved.refused:
        raise InvalidMessage("$.device_id", resolved.refused[name])
    return resolved.devices[name]


def _devices_of(
    messages: Sequence[ReadingMessage], speaker: Speaker
) -> tuple[dict[str | None, KnownDevice], dict[str | None, tuple[str, str, str]]]:
    """Devices by the names in the messages, and (code, field, reason) for the other names."""
    names = {message.device_id for message in messages}
    devices: dict[str | None, KnownDevice] = {}
    refused: dict[str | None, tuple[str, str, str]] = {}
    if speaker.id is not None:
        own = KnownDevice(speaker.id, speaker.is_pending, speaker.interval_s)
        for name in names:
            if name in (None, speaker.device_id):
                devices[name] = own
            else:
                refused[name] = ("forbidden", "$.device_id", _foreign(speaker, name))
        return devices, refused
    if None in names:
        words = "a gateway's message must name its device"
        refused[None] = ("invalid", "$.device_id", words)
    resolved = directory.resolve(speaker, [name for name in names if name is not None])
    devices.update(resolved.devices)
    for name, reason in resolved.refused.items():
        refused[name] = ("unknown_device", "$.device_id", reason)
    return devices, refused


def _foreign(speaker: Speaker, name: str | None) -> str:
    return f"This key belongs to {speaker.device_id}, the message names {name}"
