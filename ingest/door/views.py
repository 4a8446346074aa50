"""The door for devices over HTTP."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from math import ceil
from typing import Any, NoReturn, cast

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework import status
from rest_framework.exceptions import APIException, PermissionDenied, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from devices.fleet.keys import Speaker
from devices.http.origin import client_address
from ingest.door.accept import Arrival, heartbeat_accept, readings_accept
from ingest.door.authentication import DeviceKeyAuthentication
from ingest.door.refused import BodyRefused, readings_refused
from ingest.messages.bodies import trimmed
from ingest.messages.errors import ForeignDevice, InvalidMessage, LimitReached
from ingest.messages.heartbeat import heartbeat_decode
from ingest.messages.readings import (
    GZIP,
    MAX_BYTES,
    BodyTooLong,
    Refusal,
    UnknownEncoding,
    readings_decode,
    unpack,
)
from ingest.stream.shards import StreamAway

JSON = "application/json"
NDJSON = "application/x-ndjson"
JSON_TYPES = frozenset({JSON, "text/json", "application/x-json", "text/x-json"})
LINES_TYPES = frozenset(
    {
        *(
            NDJSON,
            "application/ndjson",
            "text/x-ndjson",
            "application/jsonl",
            "application/x-jsonl",
        ),
        *("application/jsonlines", "application/x-jsonlines", "application/json-lines"),
    }
)
# What clients send that were not told a Content-Type, such as `curl -d`.
UNTOLD_TYPES = frozenset(
    {"", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"}
)


class InvalidBody(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = "The message is not valid."

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(f"{errors[0]['field']}: {errors[0]['reason']}")
        self.errors = errors


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit // 1024} KiB.")


class StreamUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Nothing can be accepted right now; keep the message and send it again."
    wait = 5


class TooManyMessages(APIException):
    """A limit is reached, for `wait` more whole seconds; `errors` are about single messages."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS

    def __init__(
        self, words: str, retry_after_s: float, errors: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(f"{words[:1].upper()}{words[1:]}.")
        self.wait = ceil(retry_after_s)
        self.errors = errors


class AboutField(msgspec.Struct, gc=False):
    """What is said about a field, by its JSON path."""

    field: str
    reason: str


class HeartbeatAccepted(msgspec.Struct, gc=False):
    """The response to an accepted heartbeat. `next_heartbeat_s` is the interval in force. `ignored`
    are the values that were left out, and `hints` the fields that may have been meant as others;
    neither is sent if there is nothing to say."""

    server_time: datetime
    next_heartbeat_s: int
    ignored: list[AboutField] | msgspec.UnsetType = msgspec.UNSET
    hints: list[AboutField] | msgspec.UnsetType = msgspec.UNSET


class ReadingsAccepted(msgspec.Struct, gc=False):
    """The response to readings: how many were accepted, and which were refused and why."""

    server_time: datetime
    accepted: int
    refused: list[dict[str, Any]]


class JsonAlways(BaseContentNegotiation):
    """Devices always get JSON, so the Accept header is not parsed."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type or ""


class DoorView(APIView):
    """A view for devices. Errors at the door become problem responses that say what to do."""

    content_types = JSON_TYPES
    authentication_classes = (DeviceKeyAuthentication,)
    content_negotiation_class = JsonAlways
    http_method_names = ("post",)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Only authenticates: there is one format and one version, and what is permitted depends on
        the messages."""
        self.perform_authentication(request)

    def raise_uncaught_exception(self, exc: Exception) -> NoReturn:
        """Unlike DRF's own method, does not look for a format first."""
        raise exc

    def post(self, request: Request) -> HttpResponse:
        try:
            with BodyRefused(cast(Speaker, request.user)) as body:
                body.data = self.read(request)
                answer = self.accept(body.data, request, origin_of(request))
        except InvalidMessage as error:
            raise InvalidBody([{"field": error.field, "reason": error.reason}]) from None
        except ForeignDevice as error:
            raise PermissionDenied(f"{error}.") from None
        except LimitReached as error:
            raise TooManyMessages(str(error), error.retry_after_s) from None
        except StreamAway as error:
            raise StreamUnavailable from error
        return HttpResponse(msgspec.json.encode(answer), status=202, content_type=JSON)

    def read(self, request: Request) -> bytes:
        """Reads the body, and unpacks it if it is gzip; the time of receipt is taken afterwards."""
        limit = self.limit()
        body = body_read(request, limit, self.content_types)
        encoding = request._request.META.get("HTTP_CONTENT_ENCODING", "")
        try:
            return unpack(body, encoding=encoding.strip().lower(), limit=limit)
        except BodyTooLong:
            raise BodyTooLarge(limit) from None
        except UnknownEncoding as error:
            raise UnsupportedMediaType(str(error), "Send it uncompressed or with gzip.") from None

    def limit(self) -> int:
        """How many bytes a body may have, packed and unpacked."""
        return settings.INGEST_MAX_BODY_BYTES

    def accept(self, data: bytes, request: Request, arrival: Arrival) -> msgspec.Struct:
        raise NotImplementedError


class HeartbeatView(DoorView):
    """`POST /api/v1/heartbeats`: 202 once the heartbeat is on disk in the stream."""

    def accept(self, data: bytes, request: Request, arrival: Arrival) -> HeartbeatAccepted:
        message = heartbeat_decode(data, received_at=arrival.received_at)
        interval_s = heartbeat_accept(message=message, arrival=arrival, data=data)
        answer = HeartbeatAccepted(arrival.received_at, interval_s)
        if message.ignored:
            answer.ignored = [AboutField(*one) for one in message.ignored]
        if message.hints:
            answer.hints = [AboutField(*one) for one in message.hints]
        return answer


class ReadingsView(DoorView):
    """`POST /api/v1/readings`: an object, an array or NDJSON; 202 once the accepted ones are on
    disk.

    If none is accepted: 403 if all are for other devices, 429 if a limit refused any, else 400.
    """

    content_types = JSON_TYPES | LINES_TYPES

    def limit(self) -> int:
        return MAX_BYTES

    def accept(self, data: bytes, request: Request, arrival: Arrival) -> ReadingsAccepted:
        lines = request._request.content_type in LINES_TYPES
        decoded = readings_decode(data, lines=lines, received_at=arrival.received_at)
        accepted, refused = readings_accept(messages=decoded.messages, arrival=arrival)
        refusals = sorted([*decoded.refused, *refused])
        readings_refused(refused=refusals, arrival=arrival, data=data, lines=lines)
        if refusals and not accepted:
            refusals_raise(refusals, is_single=decoded.is_single)
        return ReadingsAccepted(
            arrival.received_at, accepted, [_as_json(refusal) for refusal in refusals]
        )


def origin_of(request: Request) -> Arrival:
    """Returns who sent the request, and marks the request as received now."""
    speaker = cast(Speaker, request.user)
    return Arrival(speaker, datetime.now(UTC), client_address(request._request))


def refusals_raise(refusals: list[Refusal], *, is_single: bool) -> None:
    """Raises PermissionDenied if all are for a different device, TooManyMessages if a limit refused
    any, else InvalidBody. The last two list every refusal, without its position if the request was
    a single message."""
    if all(refusal.code == "forbidden" for refusal in refusals):
        raise PermissionDenied(f"{refusals[0].reason}.")
    errors = [_as_json(refusal) for refusal in refusals]
    if is_single:
        del errors[0]["index"]
    if limited := [refusal for refusal in refusals if refusal.code == "limit"]:
        wait_s = max(refusal.retry_after_s for refusal in limited)
        raise TooManyMessages(limited[0].reason, wait_s, errors)
    raise InvalidBody(errors)


def _as_json(refusal: Refusal) -> dict[str, Any]:
    waits = {"retry_after_s": ceil(refusal.retry_after_s)} if refusal.retry_after_s else {}
    return {
        "index": refusal.position,
        "code": refusal.code,
        "field": refusal.field,
        "reason": refusal.reason,
        **waits,
    }


def body_read(request: Request, limit: int, content_types: Collection[str]) -> bytes:
    """The request's body, of one of the types and no longer than `limit` bytes. If the type says
    nothing, the body has to be JSON, or gzip.

    Raises UnsupportedMediaType, BodyTooLarge, and InvalidBody if the end of the body is missing.
    """
    http = request._request  # attributes of DRF's wrapper are slow to read
    kind = http.content_type
    if kind not in content_types and kind not in UNTOLD_TYPES:
        raise _unsupported(kind, content_types)
    length = int(http.META.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise BodyTooLarge(limit)
    body = _chunked_body(http, limit) if _is_chunked(http) else http.read()
    if len(body) > limit:
        raise BodyTooLarge(limit)
    if len(body) < length:
        raise InvalidBody(
            [{"field": "$", "reason": "the body ends too soon; part of it is missing"}]
        )
    if kind not in content_types and not _may_be_json(body):
        raise _unsupported(kind, content_types)
    return body


def _may_be_json(body: bytes) -> bool:
    return body.startswith(GZIP) or trimmed(body)[:1] in (b"{", b"[")


def _unsupported(kind: str | None, content_types: Collection[str]) -> UnsupportedMediaType:
    known = f"{JSON} or {NDJSON}" if NDJSON in content_types else JSON
    return UnsupportedMediaType(kind or "none", f"Send {known} as the Content-Type.")


def _is_chunked(request: HttpRequest) -> bool:
    """True if the body has no Content-Length: Django would then not read it over WSGI."""
    return "wsgi.input" in request.META and "HTTP_TRANSFER_ENCODING" in request.META


def _chunked_body(request: HttpRequest, limit: int) -> bytes:
    body: bytes = request.META["wsgi.input"].read(limit + 1)
    return body
