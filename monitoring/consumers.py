"""`/ws/live`: the devices of one's tenants, as they change.

From the server: `{"type": "hello", "server_time": …}` once changes arrive, then
`{"type": "devices", "server_time": …, "devices": [{"id", "state", "state_since", "reason",
"last_seen", "battery_pct"}, …]}`. From the client: `{"type": "watch", "ids": […]}`, at most 500
ids of the portal's own; it is answered with the latest of those devices, and from then on only
they are sent. Without it every change of one's tenants is sent.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import User
from django.utils import timezone
from redis.exceptions import RedisError

from devices.scope import access_scope
from devices.tenancy import access_of
from monitoring.live import OPERATORS, change_as_json, status_as_change, tenant_group
from telemetry.models import DeviceStatus

log = logging.getLogger(__name__)

MAX_WATCHED = 500
NOT_SIGNED_IN = 4401
NOT_UNDERSTOOD = 4400
TOO_SLOW = 4408
TRY_AGAIN_LATER = 1013
RECHECK_S = 15
SLOW_AFTER_S = 10


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One person's socket, in the groups of the tenants that the person may see.

    What the person may see is asked again every RECHECK_S and at each `watch`: a membership that
    ends, a person who is locked out or signs out, ends what the socket hears. One who reads too
    slowly is dropped, as what waits for each socket is kept in memory.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.joined: set[str] = set()
        self.watched: frozenset[int] | None = None
        self.rechecks: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        try:
            if not await self._join():
                return
            # Comes back through the layer: who is greeted really hears what is sent to the groups.
            await self.channel_layer.send(self.channel_name, {"type": "subscribed"})
        except (RedisError, OSError) as error:
            log.warning("a socket is sent away, Valkey does not answer: %s", error)
            await self.close(code=TRY_AGAIN_LATER)
            return
        self.rechecks = asyncio.create_task(self._recheck())

    async def subscribed(self, message: dict[str, Any]) -> None:
        await self._send({"type": "hello", "server_time": _now()})

    async def disconnect(self, code: int) -> None:
        if self.rechecks is not None:
            self.rechecks.cancel()
        with suppress(RedisError, OSError):  # what is not heard need not be left
            await self._leave(self.joined)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if text_data is None:
            await self.close(code=NOT_UNDERSTOOD)
            return
        await super().receive(text_data=text_data, **kwargs)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        ids = _watched_ids(content)
        if ids is None:
            await self.close(code=NOT_UNDERSTOOD)
            return
        if await self._join():
            self.watched = ids
            await self._send_devices(await _latest(self.scope, ids))

    async def devices_changed(self, message: dict[str, Any]) -> None:
        devices = message["devices"]
        if self.watched is not None:
            devices = [one for one in devices if one["id"] in self.watched]
        if devices:
            await self._send_devices(devices)

    async def _join(self) -> bool:
        """Joins and leaves groups as the person's access now is; closes if there is none."""
        groups = await _groups_of(self.scope)
        for group in groups - self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        await self._leave(self.joined - groups)
        self.joined = groups
        if not groups:
            await self.close(code=NOT_SIGNED_IN)
        return bool(groups)

    async def _leave(self, groups: set[str]) -> None:
        for group in groups:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                if not await self._join():
                    return
            except (RedisError, OSError) as error:
                log.warning("access is asked again later, Valkey does not answer: %s", error)

    async def _send_devices(self, devices: list[dict[str, Any]]) -> None:
        await self._send({"type": "devices", "server_time": _now(), "devices": devices})

    async def _send(self, content: dict[str, Any]) -> None:
        try:
            await asyncio.wait_for(self.send_json(content), SLOW_AFTER_S)
        except TimeoutError:
            await self.close(code=TOO_SLOW)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        try:
            return await super().decode_json(text_data)
        except (ValueError, RecursionError):
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
def _groups_of(scope: Any) -> set[str]:
    """The groups that the person of the socket may be in at this moment."""
    user = User.objects.filter(pk=scope["user"].pk, is_active=True).first()
    if user is None or not scope["session"].exists(scope["session"].session_key or ""):
        return set()
    access = access_of(user)
    return {OPERATORS} if access.is_operator else set(map(tenant_group, access.roles))


@database_sync_to_async
def _latest(scope: Any, ids: frozenset[int]) -> list[dict[str, Any]]:
    with access_scope(access_of(User.objects.get(pk=scope["user"].pk))):
        statuses = DeviceStatus.objects.filter(device_id__in=ids)
        return [change_as_json(status_as_change(status)) for status in statuses]


def _now() -> str:
    return timezone.now().isoformat()
