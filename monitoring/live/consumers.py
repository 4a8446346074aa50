"""`/ws/live`: a websocket that sends the devices of the person's tenants whenever they change.

A client signs in with the portal's session or with an access token, which is never part of the
address. The token is the second subprotocol after `rollcall.jwt`, or the first message, sent within
5 s: `{"type": "auth", "token": …}`. The same message renews the token later. The socket is closed
with 4401 when the token or the session ends, with 4403 if the person belongs to no tenant, and with
4429 if they have too many connections open.

From the server: `{"type": "hello", "server_time": …}` once it is subscribed, then
`{"type": "devices", "server_time": …, "devices": [{"id", "state", "state_since", "reason",
"last_seen", "battery_pct"}, …]}`. From the client: `{"type": "watch", "ids": […]}` with at most 500
of the portal's ids. The server answers with the latest status of those devices, and from then on
sends only them. A client that watches nothing gets every change in its tenants.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import Error as DatabaseError
from redis.exceptions import RedisError

from devices.http.quotas import Slot
from monitoring.live.listener import Listener, live_message
from monitoring.live.visitor import Visitor, visitor_of_session, visitor_of_token

log = logging.getLogger(__name__)

SUBPROTOCOL = "rollcall.jwt"
MAX_WATCHED = 500
NOT_SIGNED_IN = 4401
NO_TENANT = 4403
NOT_UNDERSTOOD = 4400
TOO_SLOW = 4408
TOO_MANY = 4429
TRY_AGAIN_LATER = 1013
AUTH_WITHIN_S = 5


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One person's socket; it passes on what its listener hears."""

    # The listener has a channel, so the socket needs none.
    channel_layer_alias = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.listener: Listener | None = None
        self.slot: Slot | None = None
        self.is_closed = False
        self.watched: frozenset[int] | None = None
        # Held while a `watch` is answered, so that no older status follows a newer one.
        self.sending = asyncio.Lock()
        # Waits for a token, then passes on what the listener hears.
        self.serving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Frees the slot and ends all work of the socket, even after an error of ours."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._end()

    async def dispatch(self, message: Any) -> None:
        async with self._closed_on_failure():
            await super().dispatch(message)

    @asynccontextmanager
    async def _closed_on_failure(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, DatabaseError) as error:
            log.warning("closing a socket because a service is unavailable: %r", error)
            await self.close(code=TRY_AGAIN_LATER)
        except OSError as error:  # a message could not be sent
            log.info("closing a socket because its client disconnected: %r", error)
            await self.close(code=TRY_AGAIN_LATER)

    async def close(self, code: Any = None, reason: Any = None) -> None:
        """Closes the socket once; later calls do nothing, and nothing more is sent."""
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
            self.serving = asyncio.create_task(self._await_token())

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if not text_data:
            await self.close(code=NOT_UNDERSTOOD)
        elif not self.is_closed:  # the client may send before it learns of the close
            await super().receive(text_data=text_data, **kwargs)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        token, ids = _token(content), _watched_ids(content)
        if token is not None:
            await self._show(await visitor_of_token(token))
        elif ids is None:
            await self.close(code=NOT_UNDERSTOOD)
        elif self.listener is None:
            await self.close(code=NOT_SIGNED_IN)
        else:
            await self._watch(self.listener, ids)

    async def _watch(self, listener: Listener, ids: frozenset[int]) -> None:
        async with self.sending:
            if self.is_closed:
                return
            await listener.join()
            if not listener.is_over:
                self.watched = ids
                latest = await listener.visitor.latest(ids)
                await self._send(live_message("devices", devices=latest))

    async def _show(self, visitor: Visitor | None) -> None:
        """Signs the client in, or lets a visitor stay until their new token expires."""
        if self.listener is None:
            await self._welcome(visitor)
        elif visitor is None or visitor.user_id != self.listener.visitor.user_id:
            await self.close(code=NOT_SIGNED_IN)
        else:
            self.listener.stay(visitor)

    async def _welcome(self, visitor: Visitor | None) -> None:
        self._drop()
        if visitor is None:
            await self.close(code=NOT_SIGNED_IN)
            return
        self.slot = visitor.slot_take()
        if self.slot is None:
            await self.close(code=TOO_MANY)
            return
        self.listener = Listener(visitor, too_slow=self._drop)
        self.serving = asyncio.create_task(self._serve(self.listener))

    def _drop(self) -> None:
        if self.serving is not None:
            self.serving.cancel()

    async def _end(self) -> None:
        self.is_closed = True
        self._drop()
        if self.slot is not None:
            self.slot.give_back()
        if self.listener is not None:
            await self.listener.close()

    async def _await_token(self) -> None:
        await asyncio.sleep(AUTH_WITHIN_S)
        await self.close(code=NOT_SIGNED_IN)

    async def _serve(self, listener: Listener) -> None:
        """Says hello once it is subscribed, then passes them on until the visitor may hear nothing
        any more, or the client stops reading."""
        try:
            async with self._closed_on_failure():
                async with self.sending:  # the hello goes before any answer to a `watch`
                    await listener.open()
                    if not listener.is_over:
                        await self._send(live_message("hello"))
                while (batch := await listener.next()) is not None:
                    async with self.sending:
                        await self._send_watched(batch.devices)
                await self.close(code=NO_TENANT if listener.is_signed_in else NOT_SIGNED_IN)
        except asyncio.CancelledError:
            await self.close(code=TOO_SLOW)
            raise
        finally:
            await self.close(code=TRY_AGAIN_LATER)  # after an error of ours

    async def _send_watched(self, devices: list[dict[str, Any]]) -> None:
        if self.watched is not None:
            devices = [one for one in devices if one["id"] in self.watched]
        if devices:
            await self._send(live_message("devices", devices=devices))

    async def _send(self, content: dict[str, Any]) -> None:
        if self.is_closed:
            return
        try:
            await self.send_json(content)
        except OSError:  # the client has left
            self.is_closed = True

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        try:
            return await super().decode_json(text_data)
        except (ValueError, RecursionError):
            return None


def _offered_token(subprotocols: Iterable[str]) -> str | None:
    """The token offered with SUBPROTOCOL; "" if there is none, None without SUBPROTOCOL."""
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
