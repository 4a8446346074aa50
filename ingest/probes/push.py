"""The door for network probes: `POST /api/push` takes one measurement and stores it as a reading.

The body is what fiber-api's probes send. A value may have several names where their documentation
does not say which one to use.
"""

from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from rest_framework.request import Request

from devices.fleet.keys import Speaker
from devices.fleet.registration import Description
from devices.models import Device
from ingest.door.accept import Arrival, readings_accept
from ingest.door.directory import directory
from ingest.door.refused import readings_refused
from ingest.door.views import DoorView, refusals_raise
from ingest.messages.bodies import body_decode, check_text, from_msgspec, name_text, trimmed
from ingest.messages.errors import InvalidMessage
from ingest.messages.readings import MAX_METRICS, Name, ReadingMessage, Value
from ingest.messages.times import TIME_NAMES, Time, device_time, times_mend

PROBE = "probe"
# Together with the three measurements, as many as a reading may have; with "metadata.", names as
# long as a metric's may be.
MAX_METADATA = MAX_METRICS - 3
MAX_METADATA_NAME = 55

Latency = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=100)]
Measured = bool | int | float | str


class PushBody(Struct, gc=False, forbid_unknown_fields=True):
    """A measurement as it is sent: latency in milliseconds, uptime and packet loss in percent."""

    node_id: Name | int | None = None
    node_name: Annotated[str, Meta(max_length=120)] | None = None
    region: Annotated[str, Meta(max_length=64)] | None = None
    latency: Latency | None = None
    latency_ms: Latency | None = None
    uptime: Share | None = None
    uptime_pct: Share | None = None
    packet_loss: Share | None = None
    packet_loss_pct: Share | None = None
    time: Time | None = None
    timestamp: Time | None = None
    ts: Time | None = None
    tst: Time | None = None
    timestamp_ms: Time | None = None
    metadata: dict[str, Any] | None = None


class Push(NamedTuple):
    """A valid measurement. `metrics` are latency_ms, uptime_pct, packet_loss_pct, and the metadata
    as `metadata.<name>`."""

    node_id: str | None
    node_name: str | None
    region: str | None
    time: datetime
    metrics: dict[str, Measured]


class PushAccepted(Struct, gc=False):
    """The response to an accepted measurement."""

    status: str
    node_id: str
    server_time: datetime


class PushView(DoorView):
    """`POST /api/push`: 202 once the measurement is on disk in the stream.

    An unknown node is registered if a gateway's key speaks for it and the tenant's policy allows
    it.
    """

    def accept(self, data: bytes, request: Request, arrival: Arrival) -> PushAccepted:
        push = push_decode(data, received_at=arrival.received_at)
        push_accept(push=push, arrival=arrival, data=data)
        node_id = push.node_id or arrival.speaker.device_id or ""
        return PushAccepted("accepted", node_id, arrival.received_at)


def push_accept(*, push: Push, arrival: Arrival, data: bytes) -> None:
    """Returns once the measurement is on disk in the stream. `data` is the measurement as sent.

    Raises InvalidBody or PermissionDenied (no such node, or one that the key may not speak for),
    StreamAway and OperationalError.
    """
    _register(push, arrival.speaker)
    message = ReadingMessage(
        0, push.node_id, push.time, None, PROBE, push.region, msgspec.json.encode(push.metrics)
    )
    _, refused = readings_accept(messages=[message], arrival=arrival)
    if refused:
        refusals = [one._replace(field="$.node_id") for one in refused]
        readings_refused(refused=refusals, arrival=arrival, data=data, lines=False)
        refusals_raise(refusals, is_single=True)


def push_decode(data: bytes, *, received_at: datetime) -> Push:
    """The measurement in a JSON object such as `{"node_id": "accra-1", "latency": 21.5}`.

    Raises InvalidMessage for anything that cannot be stored as it is.
    """
    data = trimmed(data)
    if not data:
        raise InvalidMessage("$", "the body is empty; send a JSON object with a node_id")
    body = _parse(data)
    node_id = name_text("$.node_id", body.node_id)
    for name, text in (
        ("node_id", node_id),
        ("node_name", body.node_name),
        ("region", body.region),
    ):
        check_text(f"$.{name}", text)
    measured = {
        "latency_ms": _either(body, "latency_ms", "latency"),
        "uptime_pct": _either(body, "uptime_pct", "uptime"),
        "packet_loss_pct": _either(body, "packet_loss_pct", "packet_loss"),
    }
    metrics = {name: value for name, value in measured.items() if value is not None}
    if not metrics:
        raise InvalidMessage("$", "nothing was measured; send latency, uptime or packet_loss")
    return Push(
        node_id,
        body.node_name,
        body.region,
        _time(body, received_at),
        metrics | _metadata(body.metadata or {}),
    )


def _parse(data: bytes) -> PushBody:
    try:
        return body_decode(_decoder, data)
    except InvalidMessage as error:
        if error.field.removeprefix("$.") not in TIME_NAMES:
            raise
        fields = _fields.decode(data)
        if not times_mend(fields):
            raise
    try:
        return msgspec.convert(fields, PushBody)
    except msgspec.ValidationError as error:
        raise from_msgspec(error) from None


def _register(push: Push, speaker: Speaker) -> None:
    if speaker.id is None and push.node_id is not None:
        described = Description(push.node_name or _name_for(push.node_id), Device.Kind.PROBE)
        directory.resolve(speaker, (push.node_id,), {push.node_id: described})


def _name_for(node_id: str) -> str:
    """`probe-e33e47e7` for a UUID, nothing for a node_id that is already a name."""
    try:
        return f"probe-{UUID(node_id).hex[:8]}"
    except ValueError:
        return ""


def _either(body: PushBody, *names: str) -> Any:
    """The value that was sent under one of the names; None if it was not sent."""
    sent = [name for name in names if getattr(body, name) is not None]
    if len(sent) > 1:
        raise InvalidMessage(f"$.{sent[1]}", f"this is sent as {sent[0]} too; send one of them")
    return getattr(body, sent[0]) if sent else None


def _time(body: PushBody, received_at: datetime) -> datetime:
    for name in TIME_NAMES:
        if (sent := getattr(body, name)) is not None:
            return device_time(sent, received_at=received_at, field=f"$.{name}")
    return received_at


def _metadata(metadata: dict[str, Any]) -> dict[str, Measured]:
    """Metadata as metrics: single values as they are, others as JSON; null is left out."""
    if len(metadata) > MAX_METADATA:
        words = f"{len(metadata)} fields; at most {MAX_METADATA} are possible"
        raise InvalidMessage("$.metadata", words)
    return {
        f"metadata.{name}": _metadatum(name, value)
        for name, value in metadata.items()
        if value is not None
    }


def _metadatum(name: str, value: Any) -> Measured:
    path = f"$.metadata.{name[:64]}"
    if not 1 <= len(name) <= MAX_METADATA_NAME:
        raise InvalidMessage(path, f"a field's name must have 1 to {MAX_METADATA_NAME} characters")
    if isinstance(value, dict | list):
        value = msgspec.json.encode(value).decode()
    check_text(path, name)
    check_text(path, value if isinstance(value, str) else None)
    try:
        measured: Measured = msgspec.convert(value, Value)
    except msgspec.ValidationError as error:
        raise InvalidMessage(path, from_msgspec(error).reason) from None
    return measured


_decoder = msgspec.json.Decoder(PushBody)
_fields = msgspec.json.Decoder(dict[str, Any])
