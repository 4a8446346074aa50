"""The door for devices over HTTP."""

import ipaddress
from datetime import UTC, datetime
from typing import cast

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework import status
from rest_framework.exceptions import APIException, PermissionDenied, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.views import APIView

from devices.credentials import SpeakingDevice
from ingest.keys import DeviceKeyAuthentication
from ingest.messages import InvalidMessage, heartbeat_decode
from ingest.stream import StreamAway, heartbeat_append


class InvalidBody(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = "The message is not as it should be."

    def __init__(self, error: InvalidMessage) -> None:
        super().__init__(f"{error.field}: {error.reason}")
        self.errors = [{"field": error.field, "reason": error.reason}]


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {settings.INGEST_MAX_BODY_BYTES // 1024} KiB."


class StreamUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Nothing can be accepted just now; keep the message and send it again."
    wait = 5


class Accepted(msgspec.Struct, gc=False):
    """The answer to an accepted message. `next_heartbeat_s` is the interval in force."""

    server_time: datetime
    next_heartbeat_s: int


class HeartbeatView(APIView):
    """`POST /api/v1/heartbeats`: 202 once the heartbeat is on disk in the stream."""

    authentication_classes = (DeviceKeyAuthentication,)
    permission_classes = ()
    throttle_classes = ()

    def post(self, request: Request) -> HttpResponse:
        received_at = datetime.now(UTC)
        device = cast(SpeakingDevice, request.user)
        try:
            message = heartbeat_decode(_json_body(request), received_at=received_at)
        except InvalidMessage as error:
            raise InvalidBody(error) from None
        if message.body.device_id not in (None, device.device_id):
            raise PermissionDenied(
                f"This key belongs to {device.device_id}, the message names "
                f"{message.body.device_id}."
            )
        try:
            heartbeat_append(
                device=device,
                message=message,
                received_at=received_at,
                address=client_address(request._request),
            )
        except StreamAway as error:
            raise StreamUnavailable from error
        answer = Accepted(received_at, device.interval_s)
        return HttpResponse(
            msgspec.json.encode(answer), status=202, content_type="application/json"
        )


def client_address(request: HttpRequest) -> str | None:
    """The address the request came from; X-Forwarded-For counts only from a trusted proxy."""
    peer = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    candidate = forwarded.split(",")[-1].strip() if peer in settings.TRUSTED_PROXIES else peer
    try:
        return str(ipaddress.ip_address(candidate))
    except ValueError:
        return None


def _json_body(request: Request) -> bytes:
    if request._request.content_type != "application/json":
        raise UnsupportedMediaType(
            request._request.content_type or "none",
            "Send JSON, with Content-Type application/json.",
        )
    limit = settings.INGEST_MAX_BODY_BYTES
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise BodyTooLarge
    body = _chunked_body(request, limit) if _is_chunked(request) else request._request.body
    if len(body) > limit:
        raise BodyTooLarge
    return body


def _is_chunked(request: Request) -> bool:
    """Django takes a WSGI request without a Content-Length for one without a body."""
    return "wsgi.input" in request.META and "HTTP_TRANSFER_ENCODING" in request.META


def _chunked_body(request: Request, limit: int) -> bytes:
    body: bytes = request.META["wsgi.input"].read(limit + 1)
    return body
