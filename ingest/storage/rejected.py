"""Rejected messages: accepted but not stored, and kept until somebody deals with them."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from devices.fleet.registration import devices_find, pending_among
from devices.models import Device, HistoryEntry, Tenant
from ingest.messages.bodies import body_decode
from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import heartbeat_decode
from ingest.messages.readings import readings_decode
from ingest.models import RejectedMessage
from ingest.stream.entries import EntryReading, ReadingsEntry, heartbeat_entry
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.vitals import NAMES

Reason = RejectedMessage.Reason
Kind = RejectedMessage.Kind

NOT_APPROVED = "the device registered itself and is not approved yet"
DELETED = "the device was deleted after its message was accepted"


_any = msgspec.json.Decoder(Any)


class _Named(msgspec.Struct):
    device_id: Any = None


class Rejection(NamedTuple):
    """A row that was not stored, and why."""

    row: IncomingHeartbeat | IncomingReading
    reason: Reason
    error: str


def rejections_write(*, shard: int, rejections: Sequence[Rejection]) -> None:
    """Keeps rejected messages. Call it in the transaction that counts them.

    Messages from a tenant that has since been deleted are dropped.
    """
    if not rejections:
        return
    tenant_ids = {rejection.row.tenant_id for rejection in rejections}
    existing = set(Tenant.objects.filter(id__in=tenant_ids).values_list("id", flat=True))
    names = _names({rejection.row.device_id for rejection in rejections})
    RejectedMessage.objects.bulk_create(
        (
            _message(shard, one, names.get(one.row.device_id))
            for one in rejections
            if one.row.tenant_id in existing
        ),
        batch_size=1000,
    )


def rejected_edit(*, message: RejectedMessage, payload: str) -> bool:
    """Changes the message's payload, and its device if the payload names a different one.

    The message then waits for a replay, or for approval if its device is pending. Returns False if
    it was replayed meanwhile. Raises InvalidMessage if the door would not accept the payload.
    """
    device_id = payload_check(message, payload)
    waiting = RejectedMessage.objects.filter(pk=message.pk, replayed_at=None)
    pending = pending_among(ids=() if device_id is None else (device_id,))
    reason, error = hindrance(device_id, pending) or (Reason.CORRECTED, message.error)
    changes = {"payload": payload, "device_id": device_id, "reason": reason, "error": error}
    return waiting.update(**changes, replay_failures=0, replay_due_at=None) == 1


def hindrance(device_id: int | None, pending: Collection[int]) -> tuple[Reason, str] | None:
    """Why messages from the device may not be stored; None if they may. `pending` are devices that
    wait for approval."""
    if device_id is None:
        return Reason.UNKNOWN_DEVICE, DELETED
    if device_id in pending:
        return Reason.PENDING_DEVICE, NOT_APPROVED
    return None


def name_in(payload: str) -> str | None:
    """The device name in the payload of a rejected message."""
    name = msgspec.json.decode(payload, type=_Named).device_id
    return None if name is None else str(name)


def payload_check(message: RejectedMessage, payload: str) -> int | None:
    """The id of the device that the message would belong to with this payload; None if that device
    no longer exists. Raises InvalidMessage if the door would not accept the payload.
    """
    name, _ = _decode(message, payload, is_edited=True)
    if name is None:
        existing = Device.objects.filter(pk=message.device_id or 0)
        return existing.values_list("pk", flat=True).first()
    known = devices_find(tenant_id=message.tenant_id, device_ids=(name,))
    if name not in known:
        raise InvalidMessage("$.device_id", f"this tenant has no device {name!r}")
    return known[name].id


def row_of(message: RejectedMessage) -> IncomingHeartbeat | IncomingReading:
    """The message as a row to store. Raises InvalidMessage if the door would refuse it.

    Its device is the one it was rejected for, unless an edited payload names a different one.
    """
    _, row = _decode(message, message.payload)
    return row


def _decode(
    message: RejectedMessage, payload: str, *, is_edited: bool = False
) -> tuple[str | None, IncomingHeartbeat | IncomingReading]:
    """The name of the device in the payload, and the row.

    A device's value that cannot be used is left out of its heartbeat. A person's is an error: they
    can correct it."""
    data = payload.encode()
    decoded = (
        _heartbeat(message, data, is_edited=is_edited)
        if message.kind == Kind.HEARTBEAT
        else _reading(message, data)
    )
    if is_edited:
        body_decode(_any, data)  # what stands around a device's JSON would only confuse people
    return decoded


def _heartbeat(
    message: RejectedMessage, data: bytes, *, is_edited: bool
) -> tuple[str | None, IncomingHeartbeat]:
    decoded = heartbeat_decode(data, received_at=message.received_at)
    if is_edited and decoded.ignored:
        raise InvalidMessage(*decoded.ignored[0])
    entry = heartbeat_entry(
        message=decoded,
        tenant_id=message.tenant_id,
        device_id=message.device_id or 0,
        received_at=message.received_at,
    )
    return decoded.device_id, next(entry.rows())


def _reading(message: RejectedMessage, data: bytes) -> tuple[str | None, IncomingReading]:
    decoded = readings_decode(data, lines=False, received_at=message.received_at)
    if not decoded.is_single:
        raise InvalidMessage("$", "this is a list; a rejected message is one object")
    if decoded.refused:
        refusal = decoded.refused[0]
        raise InvalidMessage(refusal.field, refusal.reason)
    _, name, time, seq, msg_type, site, metrics = decoded.messages[0]
    reading = EntryReading(message.device_id or 0, time, seq, msg_type, site, metrics)
    entry = ReadingsEntry(message.tenant_id, message.received_at, None, [reading])
    return name, next(entry.rows())


def _names(device_ids: Collection[int]) -> dict[int, str]:
    """The devices' names; those of deleted devices come from the history."""
    rows = Device.objects.filter(id__in=device_ids).order_by()
    names = dict(rows.values_list("id", "device_id"))
    if gone := [device for device in device_ids if device not in names]:
        deleted = HistoryEntry.objects.filter(
            subject=HistoryEntry.Subject.DEVICE,
            change=HistoryEntry.Change.DELETE,
            object_id__in=gone,
        )
        names |= dict(deleted.values_list("object_id", "object_name"))
    return names


def _message(shard: int, rejection: Rejection, name: str | None) -> RejectedMessage:
    row = rejection.row
    return RejectedMessage(
        tenant_id=row.tenant_id,
        device_id=row.device_id,
        kind=Kind.HEARTBEAT if isinstance(row, IncomingHeartbeat) else Kind.READING,
        reason=rejection.reason,
        error=rejection.error,
        payload=_payload(row, name),
        received_at=row.received_at,
        shard=shard,
    )


def _payload(row: IncomingHeartbeat | IncomingReading, name: str | None) -> str:
    """The message as JSON, as its device would send it, with the device's name if known."""
    said: dict[str, Any] = {"device_id": name, "time": row.time}
    if isinstance(row, IncomingHeartbeat):
        said |= zip(NAMES, row.named, strict=True)
        said |= msgspec.json.decode(row.vitals or "{}", type=dict[str, msgspec.Raw])
    else:
        said |= {"seq": row.seq, "msg_type": row.msg_type, "site": row.site}
        said["metrics"] = msgspec.Raw(row.metrics)
    return msgspec.json.encode(
        {name: value for name, value in said.items() if value is not None}
    ).decode()
