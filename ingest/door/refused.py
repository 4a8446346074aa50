"""Whose refused messages are, for ingest.door.refusals: a device's key speaks for its device, and a
gateway for the device that a message names, if there is one. What cannot be read is the key's."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from types import TracebackType
from typing import NamedTuple, Protocol

from django.db import OperationalError
from rest_framework.exceptions import APIException

from devices.fleet.keys import Speaker
from ingest.door.authentication import KeyCache
from ingest.door.directory import directory
from ingest.door.refusals import Code, refusals_note
from ingest.door.samples import name_in, sample_make
from ingest.messages.errors import ForeignDevice, InvalidMessage, LimitReached
from ingest.messages.readings import Refusal, messages_in

DEVICE_ID = "$.device_id"
# What messages of a batch are refused for, by the code that the device is told.
CODES = {
    "invalid": Code.INVALID,
    "forbidden": Code.FORBIDDEN,
    "unknown_device": Code.UNKNOWN_DEVICE,
    "limit": Code.DEVICE_RATE,
    "too_large": Code.TOO_LARGE,
}
# Bodies that cannot even be read, by the status of the response.
STATUSES = {400: Code.INVALID, 413: Code.TOO_LARGE, 415: Code.UNSUPPORTED}


class Published(NamedTuple):
    """A message over MQTT that was refused, or one of the readings in it, at `position`."""

    topic: str
    payload: bytes
    received_at: datetime
    code: Code
    field: str
    reason: str
    position: int | None = None


class IgnoredIn(NamedTuple):
    """Values that were left out of a device's accepted heartbeat: their fields and why."""

    message: bytes
    received_at: datetime
    device: int
    ignored: Sequence[tuple[str, str]]


class From(Protocol):
    """Who sent a request, and when we received it."""

    @property
    def speaker(self) -> Speaker: ...

    @property
    def received_at(self) -> datetime: ...


class BodyRefused:
    """Counts the request as refused if an error about all of it ends the `with` block.

    `data` is the body once it has been read. What is wrong with single messages of a batch is
    counted by readings_refused.
    """

    __slots__ = ("_speaker", "data")

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self.data: bytes | None = None

    def __enter__(self) -> "BodyRefused":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, InvalidMessage):
            self._note(Code.INVALID, error.field, error.reason)
        elif isinstance(error, ForeignDevice):
            self._note(Code.FORBIDDEN, DEVICE_ID, str(error))
        elif isinstance(error, LimitReached):
            limit_refused(self._speaker, error)
        elif isinstance(error, APIException) and self.data is None:
            self._unread(error)

    def _unread(self, error: APIException) -> None:
        if code := STATUSES.get(error.status_code):
            for one in getattr(error, "errors", None) or [{"field": "$", "reason": error.detail}]:
                self._note(code, one["field"], str(one["reason"]))

    def _note(self, code: Code, field: str, reason: str) -> None:
        device, data = self._speaker.id, self.data or b""
        if device is None and (name := name_in(data)):
            device = directory.find(self._speaker, (name,)).get(name)
        _note(self._speaker, device, code, field, reason, message=lambda: data)


class _Parts:
    """The messages in a body, split only if one is needed."""

    def __init__(self, data: bytes, lines: bool) -> None:
        self._data, self._lines = data, lines

    @cached_property
    def _messages(self) -> Sequence[bytes]:
        return messages_in(self._data, lines=self._lines)

    def at(self, position: int) -> bytes:
        return self._messages[position] if position < len(self._messages) else b""


def readings_refused(
    *, refused: Sequence[Refusal], arrival: From, data: bytes, lines: bool
) -> None:
    """Counts the messages of a body that were refused one by one."""
    if not refused:
        return
    speaker, received_at = arrival.speaker, arrival.received_at
    parts = _Parts(data, lines)
    devices: Mapping[int, int | None]
    if speaker.id is None:
        devices = _devices_named(speaker, {one.position: parts.at(one.position) for one in refused})
    else:
        devices = {one.position: speaker.id for one in refused}
    alike = Counter((devices[one.position], one.code, one.field) for one in refused)
    for one in reversed(refused):
        device = devices[one.position]
        if count := alike.pop((device, one.code, one.field), 0):
            message = partial(parts.at, one.position)
            code = CODES[one.code]
            _note(
                speaker,
                device,
                code,
                one.field,
                one.reason,
                message=message,
                count=count,
                received_at=received_at,
            )


def limit_refused(speaker: Speaker, limit: LimitReached) -> None:
    """Counts the messages that a limit refused, for each of their devices."""
    for device, count in limit.messages.items():
        refusals_note(
            tenant_id=speaker.tenant_id,
            device=device,
            code=Code(limit.code),
            reason=str(limit),
            count=count,
        )


def ignored_note(left_out: IgnoredIn, *, tenant_id: int) -> None:
    """Counts values that were left out of an accepted heartbeat."""
    for field, reason in left_out.ignored:
        refusals_note(
            tenant_id=tenant_id,
            device=left_out.device,
            code=Code.IGNORED,
            field=field,
            reason=reason,
            sample=partial(sample_make, left_out.message, field=field, reason=reason),
            received_at=left_out.received_at,
        )


def published_refused(refused: Sequence[Published], *, tenants: KeyCache) -> None:
    """Counts messages that were refused over MQTT; the topic names the device. Messages of unknown
    tenants, or whose tenant the database cannot tell right now, are not counted."""
    by_tenant: dict[str, list[Published]] = defaultdict(list)
    for one in refused:
        by_tenant[_named_by(one.topic)[0]].append(one)
    for slug, of_tenant in by_tenant.items():
        try:
            speaker = tenants.speaker(slug) if slug else None
        except OperationalError:
            continue
        if speaker is not None:
            _published(speaker, of_tenant)


def _published(speaker: Speaker, refused: Sequence[Published]) -> None:
    devices = directory.find(speaker, {_named_by(one.topic)[1] for one in refused})
    alike = Counter((one.topic, one.code, one.field) for one in refused)
    for one in reversed(refused):
        if count := alike.pop((one.topic, one.code, one.field), 0):
            device = devices.get(_named_by(one.topic)[1])
            message = partial(_published_at, one)
            field = one.field or (DEVICE_ID if one.code == Code.FORBIDDEN else "")
            _note(
                speaker,
                device,
                one.code,
                field,
                one.reason,
                message=message,
                count=count,
                received_at=one.received_at,
            )


def _note(
    speaker: Speaker,
    device: int | None,
    code: Code,
    field: str,
    reason: str,
    *,
    message: Callable[[], bytes],
    count: int = 1,
    received_at: datetime | None = None,
) -> None:
    """`message` is called only if its sample is needed."""
    reason = _with_key(speaker, device, reason)
    refusals_note(
        tenant_id=speaker.tenant_id,
        device=device,
        code=code,
        field=field,
        reason=reason,
        count=count,
        sample=lambda: sample_make(message(), field=field, reason=reason),
        received_at=received_at,
    )


def _devices_named(speaker: Speaker, messages: Mapping[int, bytes]) -> dict[int, int | None]:
    """The devices that a gateway's messages name, None if there is none, by position."""
    names = {position: name_in(message) for position, message in messages.items()}
    found = directory.find(speaker, {name for name in names.values() if name})
    return {position: found.get(name) if name else None for position, name in names.items()}


def _with_key(speaker: Speaker, device: int | None, reason: str) -> str:
    """The reason, with the key of a gateway whose message is of no known device."""
    if device is not None or not speaker.prefix:
        return reason
    return f"{reason.rstrip('.')} (gateway key rc_{speaker.prefix}_…)"


def _published_at(refused: Published) -> bytes:
    if refused.position is None:
        return refused.payload
    return _Parts(refused.payload, False).at(refused.position)


def _named_by(topic: str) -> tuple[str, str]:
    """The tenant and the device in a topic such as tenant/acme/device/porch/heartbeat."""
    parts = topic.split("/")
    return (parts[1], parts[3]) if len(parts) == 5 else ("", "")
