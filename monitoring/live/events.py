"""`/api/v1/live`: the messages of `/ws/live` as server-sent events.

The first is `{"type": "hello", "server_time": …, "resumed": …}`. If it was not resumed, messages
of type `devices` with the latest of all one's devices follow; then those that change. Who comes
back within a minute with `Last-Event-ID`, as browsers do by themselves, is sent what changed
meanwhile. The last is `{"type": "closed", "code": 4401}` when the token or the session is over.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.db import Error as DatabaseError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from redis.exceptions import RedisError
from rest_framework.exceptions import (
    APIException,
    MethodNotAllowed,
    NotAuthenticated,
    PermissionDenied,
    ValidationError,
)
from rest_framework.settings import api_settings

from devices.api.base.queries import WHY_NONE
from devices.audit.operator_access import operator_access_record
from devices.http.quotas import Slot
from monitoring.live.consumers import NOT_SIGNED_IN
from monitoring.live.listener import Listener, live_message
from monitoring.live.publisher import DEVICES_PER_MESSAGE, OPERATORS
from monitoring.live.replay import missed, now_id
from monitoring.live.visitor import Visitor, visitor_of_session, visitor_of_token
from monitoring.live.watching import Marks

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
RETRY_MS = 2000
KEEP_ALIVE = b": still here\n\n"
NO_GOOD_TOKEN = (
    "This access token is none of ours, or has expired: get another at "
    "/api/v1/auth/token/refresh, or sign in again."
)


class WrongServer(APIException):
    """This process cannot hold on to a connection."""

    status_code = 421
    default_detail = "This server does not stream; ask the portal's own address (PORT), or a proxy."


class TooManyStreams(APIException):
    """The person has as many open as one may have."""

    status_code = 429
    wait = 30
    default_detail = "You have too many live connections open; close one, or try again later."


class SignIn(NotAuthenticated):
    auth_header = 'Bearer realm="api"'


class Stream(StreamingHttpResponse):
    """The events for a visitor, who has a slot until they end or, if they never begin, until this
    is closed or dropped. Raises TooManyStreams."""

    def __init__(self, visitor: Visitor, last_id: str) -> None:
        slot = visitor.slot_take()
        if slot is None:
            raise TooManyStreams
        self._slot = slot
        super().__init__(
            _events(visitor, last_id, slot), content_type="text/event-stream; charset=utf-8"
        )
        self["Cache-Control"] = "no-cache"
        self["X-Accel-Buffering"] = "no"

    def close(self) -> None:
        super().close()
        self._slot.give_back()


# It changes nothing. Else POST would be answered with a page about forms, and not with 405.
@csrf_exempt
async def live_events(request: HttpRequest) -> HttpResponseBase:
    """The stream, or a problem."""
    try:
        visitor = await _visitor(request)
        return Stream(visitor, request.META.get("HTTP_LAST_EVENT_ID", ""))
    except (APIException, OperationalError) as error:
        handler: Any = api_settings.EXCEPTION_HANDLER
        problem: HttpResponseBase = handler(error, {})
        problem["Allow"] = "GET"
        return problem


async def _visitor(request: HttpRequest) -> Visitor:
    """Who asks, and may listen. Raises APIException."""
    if request.method != "GET":
        raise MethodNotAllowed(str(request.method))
    if not isinstance(request, ASGIRequest):
        raise WrongServer
    if request.GET:
        raise ValidationError(dict.fromkeys(request.GET, WHY_NONE))
    visitor = await _signed_in(request)
    if visitor is None:
        raise SignIn
    groups = await visitor.groups()
    if not groups:
        raise PermissionDenied("You belong to no tenant.")
    if OPERATORS in groups:
        request.user = await User.objects.aget(pk=visitor.user_id)
        await database_sync_to_async(operator_access_record)(request)
    return visitor


async def _signed_in(request: HttpRequest) -> Visitor | None:
    """Raises SignIn for a token that is not good."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme == "Bearer":
        visitor = await visitor_of_token(token.strip())
        if visitor is None:
            raise SignIn(NO_GOOD_TOKEN)
        return visitor
    return visitor_of_session(await request.auser(), request.session)


async def _events(visitor: Visitor, last_id: str, slot: Slot) -> AsyncIterator[bytes]:
    serving = asyncio.current_task()
    assert serving is not None
    # Nothing else ends a connection that takes nothing: it is stuck in sending.
    listener = Listener(visitor, too_slow=serving.cancel)
    try:
        marks = await listener.open()
        async for event in _beginning(visitor, marks, last_id):
            yield event
            listener.moved()
        # A reader who leaves is told once, by a cancellation, which what is awaited here may lose.
        while not serving.cancelling() and (batch := await listener.next(KEEP_ALIVE_S)) is not None:
            yield _devices(batch.message_id, batch.devices) if batch.devices else KEEP_ALIVE
        yield _event(None, {"type": "closed", "code": NOT_SIGNED_IN})
    except (RedisError, DatabaseError) as error:
        log.warning("a stream ends, what it needs is away: %r", error)
    except OSError as error:  # what was sent did not arrive
        log.info("a stream ends, its reader has left: %r", error)
    finally:
        slot.give_back()
        await listener.close()


async def _beginning(visitor: Visitor, marks: Marks, last_id: str) -> AsyncIterator[bytes]:
    """The greeting, and what the visitor has missed or, if that is not known, all there is."""
    event_id = now_id(marks)
    changed = await missed(last_id, marks)
    yield b"retry: %d\n\n" % RETRY_MS
    yield _event(event_id, live_message("hello", resumed=changed is not None))
    if changed is None:
        async for devices in _all_devices(visitor):
            yield _devices(event_id, devices)
    elif changed:
        yield _devices(event_id, list(changed.values()))


async def _all_devices(visitor: Visitor) -> AsyncIterator[list[dict[str, Any]]]:
    last = 0
    while page := list(await visitor.devices_after(last, DEVICES_PER_MESSAGE)):
        yield page
        last = page[-1]["id"]


def _devices(event_id: str, devices: list[dict[str, Any]]) -> bytes:
    return _event(event_id, live_message("devices", devices=devices))


def _event(event_id: str | None, content: dict[str, Any]) -> bytes:
    """An event; JSON has no line's end in it."""
    head = b"" if event_id is None else b"id: %s\n" % event_id.encode()
    return b"%sdata: %s\n\n" % (head, msgspec.json.encode(content))
