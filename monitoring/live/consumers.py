"""`/ws/live`: the devices of one's tenants, as they change.

Signed in is who has the portal's session, or shows an access token (never in the address): as the
second subprotocol after `rollcall.jwt`, or within 5 s as the first message, `{"type": "auth",
"token": …}`, which may also bring a new token later on. The socket is closed with 4401 when the
token or the session is over, with 4403 if the person belongs to no tenant, and with 4429 if they
have too many open.

From the server: `{"type": "hello", "server_time": …}` once changes arrive, then
`{"type": "devices", "server_time": …, "devices": [{"id", "state", "state_since", "reason",
"last_seen", "battery_pct"}, …]}`. From the client: `{"type": "watch", "ids": […]}`, at most 500
ids of the portal's own; it is answered with the latest of those devices, and from then on only
they are sent. Without it every change of one's tenants is sent.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import Error as DatabaseError
from django.utils import timezone
from redis.exceptions import RedisError

from devices.http.quotas import Slot
from monitoring.live.visitor import Visitor, visitor_of_session, visitor_of_token
from monitoring.live.watching import watching
from telemetry.times import utc_text

log = logging.getLogger(__name__)

SUBPROTOCOL = "rollcall.jwt"
MAX_WATCHED = 500
NOT_SIGNED_IN = 4401
NO_TENANT = 4403
NOT_UNDERSTOOD = 4400
TOO_SLOW = 4408
TOO_MANY = 4429
TRY_AGAIN_LATER = 1013
RECHECK_S = 15
RETRY_S = 1
SLOW_AFTER_S = 10
AUTH_WITHIN_S = 5


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One person's socket, in the groups of the tenants that the person may see.

    What the person may see is asked again every RECHECK_S and at each `watch`: a membership that
    ends, a person who is locked out or signs out, ends what the socket hears. One who reads too
    slowly is dropped, as what waits for each socket is kept in memory.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.visitor: Visitor | None = None
        self.slot: Slot | None = None
        self.is_closed = False
        self.joined: set[str] = set()
        self.joining = asyncio.Lock()
        self.watched: frozenset[int] | None = None
        # Waits for a token, then asks again and again what the visitor may see.
        self.waiting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Whatever ends the socket, an error of ours too: its slot is free again, and nothing goes
        on for it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._end()

    async def dispatch(self, message: Any) -> None:
        try:
            await super().dispatch(message)
        except (RedisError, DatabaseError) as error:
            log.warning("a socket is sent away, what it needs is away: %r", error)
            await self.close(code=TRY_AGAIN_LATER)
        except OSError as error:  # what was sent did not arrive
            log.info("a socket ends, its client has left: %r", error)
            await self.close(code=TRY_AGAIN_LATER)

    async def close(self, code: Any = None, reason: Any = None) -> None:
        """Once; nothing is sent afterwards."""
        if not self.is_closed:
            self.is_closed = True
            with suppress(OSError):  # the client has left
                await super().close(code, reason)

    async def connect(self) -> None:
        offered = _offered_token(self.scope["subprotocols"])
        await self.accept(subprotocol=None if offered is None else SUBPROTOCOL)
        if offered is not None:
            await self._welcome(await visitor_of_token(offered))
        elif visitor := visitor_of_session(self.scope["user"], self.scope["session"]):
            await self._welcome(visitor)
        else:
            self.waiting = asyncio.create_task(self._await_token())

    async def subscribed(self, message: dict[str, Any]) -> None:
        await self._send({"type": "hello", "server_time": _now()})

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if not text_data:
            await self.close(code=NOT_UNDERSTOOD)
            return
        await super().receive(text_data=text_data, **kwargs)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        token, ids = _token(content), _watched_ids(content)
        if token is not None:
            await self._show(await visitor_of_token(token))
        elif ids is None:
            await self.close(code=NOT_UNDERSTOOD)
        elif self.visitor is None:
            await self.close(code=NOT_SIGNED_IN)
        elif await self._join(self.visitor):
            self.watched = ids
            await self._send_devices(await self.visitor.latest(ids))

    async def devices_changed(self, message: dict[str, Any]) -> None:
        devices = message["devices"]
        if self.watched is not None:
            devices = [one for one in devices if one["id"] in self.watched]
        if devices:
            await self._send_devices(devices)

    async def _show(self, visitor: Visitor | None) -> None:
        """Takes on what a token says: who a stranger is, or for how long the visitor may stay."""
        if self.visitor is None:
            await self._welcome(visitor)
        elif visitor is None or visitor.user_id != self.visitor.user_id:
            await self.close(code=NOT_SIGNED_IN)
        else:
            self._stay(visitor)

    async def _welcome(self, visitor: Visitor | None) -> None:
        """Joins the groups and says hello once they are heard; closes if there are none."""
        if visitor is None:
            await self.close(code=NOT_SIGNED_IN)
            return
        self.slot = visitor.slot_take()
        if self.slot is None:
            await self.close(code=TOO_MANY)
            return
        self.visitor = visitor
        if not await self._join(visitor):
            return
        # Comes back through the layer: who is greeted really hears what is sent to the groups.
        await self.channel_layer.send(self.channel_name, {"type": "subscribed"})
        self._stay(visitor)

    def _stay(self, visitor: Visitor) -> None:
        self.visitor = visitor
        if self.waiting is not None:
            self.waiting.cancel()
        self.waiting = asyncio.create_task(self._recheck(visitor))

    async def _join(self, visitor: Visitor) -> bool:
        """Joins and leaves groups as the person's access now is; closes if there is none."""
        groups = await visitor.groups()
        if not groups:
            # Which leaves all of them.
            await self.close(code=NO_TENANT if await visitor.is_signed_in() else NOT_SIGNED_IN)
            return False
        async with self.joining:  # a `watch` and a recheck may come together
            new = groups - self.joined
            for group in new:
                await self.channel_layer.group_add(group, self.channel_name)
            if new:
                await watching().begin(new)
                self.joined |= new
            await self._leave(self.joined - groups)
        return True

    async def _leave(self, groups: set[str]) -> None:
        self.joined = self.joined - groups
        watching().end(groups)
        for group in groups:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def _end(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
        if self.slot is not None:
            self.slot.give_back()
        with suppress(RedisError, OSError):  # what is not heard need not be left
            await self._leave(self.joined)

    async def _await_token(self) -> None:
        await asyncio.sleep(AUTH_WITHIN_S)
        await self.close(code=NOT_SIGNED_IN)

    async def _recheck(self, visitor: Visitor) -> None:
        while True:
            await asyncio.sleep(min(RECHECK_S, max(0, visitor.expires_in_s(timezone.now()))))
            try:
                if not await self._join(visitor):
                    return
            except (RedisError, OSError, DatabaseError) as error:
                log.warning("what a socket may hear is asked again soon: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _send_devices(self, devices: list[dict[str, Any]]) -> None:
        await self._send({"type": "devices", "server_time": _now(), "devices": devices})

    async def _send(self, content: dict[str, Any]) -> None:
        if self.is_closed:
            return
        try:
            await asyncio.wait_for(self.send_json(content), SLOW_AFTER_S)
        except TimeoutError:
            await self.close(code=TOO_SLOW)
        except OSError:  # the client has left
            self.is_closed = True

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        try:
            return await super().decode_json(text_data)
        except (ValueError, RecursionError):
            return None


def _offered_token(subprotocols: Iterable[str]) -> str | None:
    """The token offered beside SUBPROTOCOL; "" if that stands alone, None if it is not there."""
    offered = list(subprotocols)
    if SUBPROTOCOL not in offered:
        return None
    return next((one for one in offered if one != SUBPROTOCOL), "")


def _token(content: Any) -> str | None:
    if not isinstance(content, dict) or content.get("type") != "auth":
        return None
    token = content.get("token")
    return token if isinstance(token, str) else None


def _watched_ids(content: Any) -> frozenset[int] | None:
    if not isinstance(content, dict) or content.get("type") != "watch":
        return None
    ids = content.get("ids")
    if not isinstance(ids, list) or len(ids) > MAX_WATCHED:
        return None
    if not all(type(one) is int and 0 < one < 2**31 for one in ids):
        return None
    return frozenset(ids)


def _now() -> str:
    return utc_text(timezone.now())
