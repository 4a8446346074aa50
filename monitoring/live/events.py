"""`/api/v1/live`: the messages of `/ws/live` as server-sent events.

The first is `{"type": "hello", "server_time": …, "resumed": …}`. If the stream was not resumed,
`devices` messages with the latest status of all the person's devices follow. After that come the
devices that change. A client that reconnects within a minute with `Last-Event-ID`, as browsers do
automatically, resumes: it gets what changed in between. The last message is
`{"type": "closed", "code": 4401}` when the token or the session ends.
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
    "This access token is not valid or has expired. Get another at "
    "/api/v1/auth/token/refresh, or sign in again."
)


class WrongServer(APIException):
    """This process, a WSGI server, cannot keep a connection open."""

    status_code = 421
    default_detail = "This server does not stream. Use the portal's address (PORT), or the proxy."


class TooManyStreams(APIException):
    """The person has as many connections open as LIVE_CONNECTIONS allows."""

    status_code = 429
    wait = 30
    default_detail = "You have too many live connections open. Close one, or try again later."


class SignIn(NotAuthenticated):
    auth_header = 'Bearer realm="api"'


class Stream(StreamingHttpResponse):
    """The events for a visitor. Raises TooManyStreams if no slot is free.

    The slot is given back when the events end or, if they never begin, when this is closed.
    """

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


# A GET that changes nothing needs no form token; without this, POST would get a page, not 405.
@csrf_exempt
async def live_events(request: HttpRequest) -> HttpResponseBase:
    """The stream, or problem details."""
    try:
        visitor = await _visitor(request)
        return Stream(visitor, request.META.get("HTTP_LAST_EVENT_ID", ""))
    except (APIException, OperationalError) as error:
        handler: Any = api_settings.EXCEPTION_HANDLER
        problem: HttpResponseBase = handler(error, {})
        problem["Allow"] = "GET"
        return problem


async def _visitor(request: HttpRequest) -> Visitor:
    """The requester, if they may listen. Raises APIException if not."""
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
    """The person signed in, None for nobody. Raises SignIn for a token that is not valid."""
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
    # If the client stops reading, sending blocks; only a cancellation ends that.
    listener = Listener(visitor, too_slow=serving.cancel)
    try:
        marks = await listener.open()
        async for event in _beginning(visitor, marks, last_id):
            yield event
            listener.moved()
        # A client that leaves cancels this task once, and the code awaited here may swallow that.
        while not serving.cancelling() and (batch := await listener.next(KEEP_ALIVE_S)) is not None:
            yield _devices(batch.message_id, batch.devices) if batch.devices else KEEP_ALIVE
        yield _event(None, {"type": "closed", "code": NOT_SIGNED_IN})
    except (RedisError, DatabaseError) as error:
        log.warning("ending a stream because a service is unavailable: %r", error)
    except OSError as error:  # a message could not be sent
        log.info("ending a stream because its client disconnected: %r", error)
    finally:
        slot.give_back()
        await listener.close()


async def _beginning(visitor: Visitor, marks: Marks, last_id: str) -> AsyncIterator[bytes]:
    """The hello, then what the visitor missed or, if that is not known, all their devices."""
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
    """One event, on one line: JSON contains no line break."""
    head = b"" if event_id is None else b"id: %s\n" % event_id.encode()
    return b"%sdata: %s\n\n" % (head, msgspec.json.encode(content))
