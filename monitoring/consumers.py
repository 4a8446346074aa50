"""`/ws/live`: the devices of one's tenants, as they change.

From the server: `{"type": "hello", "server_time": …}` once changes arrive, then
`{"type": "devices", "server_time": …, "devices": [{"id", "state", "state_since", "reason",
"last_seen", "battery_pct"}, …]}`. From the client: `{"type": "watch", "ids": […]}`, at most 500
ids of the portal's own; it is answered with the latest of those devices, and from then on only
they are sent. Without it every change of one's tenants is sent.
"""

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.utils import timezone

from devices.tenancy import is_operator, tenants_visible_to
from monitoring.live import OPERATORS, change_as_json, status_as_change, tenant_group
from telemetry.models import DeviceStatus

MAX_WATCHED = 500
NOT_SIGNED_IN = 4401
NOT_UNDERSTOOD = 4400


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One person's socket, in the groups of the tenants that the person may see."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.joined: list[str] = []
        self.watched: frozenset[int] | None = None

    async def connect(self) -> None:
        await self.accept()
        groups = await _groups_of(self.scope["user"])
        if not groups:
            await self.close(code=NOT_SIGNED_IN)
            return
        for group in groups:
            await self.channel_layer.group_add(group, self.channel_name)
            self.joined.append(group)
        # Comes back through the layer: who is greeted really hears what is sent to the groups.
        await self.channel_layer.send(self.channel_name, {"type": "subscribed"})

    async def subscribed(self, message: dict[str, Any]) -> None:
        await self.send_json({"type": "hello", "server_time": _now()})

    async def disconnect(self, code: int) -> None:
        for group in self.joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        ids = _watched_ids(content)
        if ids is None:
            await self.close(code=NOT_UNDERSTOOD)
            return
        self.watched = ids
        await self._send_devices(await _latest(self.scope["user"], ids))

    async def devices_changed(self, message: dict[str, Any]) -> None:
        devices = message["devices"]
        if self.watched is not None:
            devices = [one for one in devices if one["id"] in self.watched]
        if devices:
            await self._send_devices(devices)

    async def _send_devices(self, devices: list[dict[str, Any]]) -> None:
        await self.send_json({"type": "devices", "server_time": _now(), "devices": devices})

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        try:
            return await super().decode_json(text_data)
        except ValueError:
            return None


def _watched_ids(content: Any) -> frozenset[int] | None:
    if not isinstance(content, dict) or content.get("type") != "watch":
        return None
    ids = content.get("ids")
    if not isinstance(ids, list) or len(ids) > MAX_WATCHED:
        return None
    if not all(type(one) is int and 0 < one < 2**31 for one in ids):
        return None
    return frozenset(ids)


@database_sync_to_async
def _groups_of(user: Any) -> list[str]:
    if is_operator(user):
        return [OPERATORS]
    return [tenant_group(id_) for id_ in tenants_visible_to(user).values_list("id", flat=True)]


@database_sync_to_async
def _latest(user: Any, ids: frozenset[int]) -> list[dict[str, Any]]:
    statuses = DeviceStatus.objects.filter(device_id__in=ids, tenant__in=tenants_visible_to(user))
    return [change_as_json(status_as_change(status)) for status in statuses]


def _now() -> str:
    return timezone.now().isoformat()
