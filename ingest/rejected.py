"""Rejected messages: accepted, and not stored; kept until somebody deals with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from devices.models import Tenant
from ingest.models import RejectedMessage
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading

Reason = RejectedMessage.Reason


class Rejection(NamedTuple):
    """A message as it was handed to the store, and why it was not stored."""

    row: IncomingHeartbeat | IncomingReading
    reason: Reason
    error: str


def rejections_write(*, shard: int, rejections: Sequence[Rejection]) -> None:
    """Keeps rejected messages; to be called in the transaction that counts them.

    Those of a tenant that was deleted meanwhile go with it.
    """
    if not rejections:
        return
    tenant_ids = {rejection.row.tenant_id for rejection in rejections}
    tenants = Tenant.objects.select_for_update(no_key=True).filter(id__in=tenant_ids)
    existing = {tenant.pk for tenant in tenants.order_by("id")}
    RejectedMessage.objects.bulk_create(
        (_message(shard, one) for one in rejections if one.row.tenant_id in existing),
        batch_size=1000,
    )


def _message(shard: int, rejection: Rejection) -> RejectedMessage:
    row = rejection.row
    is_heartbeat = isinstance(row, IncomingHeartbeat)
    return RejectedMessage(
        tenant_id=row.tenant_id,
        device_id=row.device_id,
        kind=RejectedMessage.Kind.HEARTBEAT if is_heartbeat else RejectedMessage.Kind.READING,
        reason=rejection.reason,
        error=rejection.error,
        payload=_payload(row),
        received_at=row.received_at,
        shard=shard,
    )


def _payload(row: IncomingHeartbeat | IncomingReading) -> str:
    """The message as its device sent it, as JSON."""
    fields: dict[str, Any] = {
        name: value
        for name, value in row._asdict().items()
        if value is not None and name not in ("device_id", "tenant_id", "received_at", "address")
    }
    for name in ("metrics", "vitals"):
        if name in fields:
            fields[name] = msgspec.Raw(fields[name])
    return msgspec.json.encode(fields).decode()
