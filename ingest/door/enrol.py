"""Enrolment: a device that has not been added yet exchanges an enrolment token for a key."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from django.conf import settings
from django.http import HttpResponse
from msgspec import Meta, Struct
from rest_framework import status
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.request import Request
from rest_framework.views import APIView

from devices.api.base.paths import DEVICE_ID
from devices.fleet.enrolment import (
    DeviceExists,
    DeviceIdRefused,
    DeviceLimitReached,
    Enrolled,
    TokenRefused,
    device_enrol,
)
from devices.models import Device
from ingest.door.authentication import CHALLENGE
from ingest.door.views import JSON, JSON_TYPES, InvalidBody, body_read
from ingest.messages.bodies import body_decode, check_text, name_text, trimmed
from ingest.messages.errors import InvalidMessage

# The pattern is for the OpenAPI schema only; a refused device gets an error that describes it.
DeviceId = Annotated[str, Meta(max_length=64, extra_json_schema={"pattern": f"^{DEVICE_ID}$"})]


class EnrolBody(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a device sends: the enrolment token that it was given or scanned, and who it is."""

    token: Annotated[str, Meta(max_length=128)]
    device_id: DeviceId | int
    name: Annotated[str, Meta(max_length=120)] = ""
    kind: Device.Kind = Device.Kind.SENSOR


class EnrolAnswer(Struct, frozen=True, gc=False):
    """The device's key, shown only once, and where and how often to send heartbeats."""

    device_id: str
    key: str
    heartbeat_interval_s: int
    ingest_url: str


class TokenUnauthorized(APIException):
    status_code = status.HTTP_401_UNAUTHORIZED
    auth_header = CHALLENGE


class DeviceConflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class EnrolView(APIView):
    """`POST /api/v1/enrol`: 201 with a key once the device is added to the token's tenant."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def post(self, request: Request) -> HttpResponse:
        enrolled = _enrol(_decode(body_read(request, settings.INGEST_MAX_BODY_BYTES, JSON_TYPES)))
        answer = EnrolAnswer(
            enrolled.device.device_id,
            enrolled.key,
            enrolled.interval_s,
            f"{request.scheme}://{request.get_host()}",
        )
        response = HttpResponse(msgspec.json.encode(answer), status=201, content_type=JSON)
        response["Cache-Control"] = "no-store"
        return response


def _enrol(body: EnrolBody) -> Enrolled:
    try:
        return device_enrol(
            token=body.token,
            device_id=str(body.device_id),
            name=body.name,
            kind=body.kind,
            ts=datetime.now(UTC),
        )
    except TokenRefused as error:
        raise TokenUnauthorized(_sentence(error)) from None
    except DeviceIdRefused as error:
        raise InvalidBody([{"field": "$.device_id", "reason": str(error)}]) from None
    except DeviceExists as error:
        raise DeviceConflict(_sentence(error)) from None
    except DeviceLimitReached as error:
        raise PermissionDenied(_sentence(error)) from None


def _decode(data: bytes) -> EnrolBody:
    try:
        body = _parse(trimmed(data))
        device_id = name_text("$.device_id", body.device_id) or ""
        for name, text in (("token", body.token), ("device_id", device_id), ("name", body.name)):
            check_text(f"$.{name}", text)
    except InvalidMessage as error:
        raise InvalidBody([{"field": error.field, "reason": error.reason}]) from None
    return msgspec.structs.replace(body, device_id=device_id)


def _parse(data: bytes) -> EnrolBody:
    try:
        return body_decode(_decoder, data)
    except InvalidMessage as error:
        raise _named(error) from None


def _named(error: InvalidMessage) -> InvalidMessage:
    if error.field != "$.kind":
        return error
    return InvalidMessage(error.field, f"expected one of {', '.join(Device.Kind.values)}")


def _sentence(error: Exception) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}."


_decoder = msgspec.json.Decoder(EnrolBody)
