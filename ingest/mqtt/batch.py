"""Accepts messages from the broker in batches: decodes them, finds their devices, and appends them
to the stream together.

The broker lets a device publish under its own name only, so the topic says who sent a message.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from django.db import OperationalError

from devices.fleet.keys import Speaker
from devices.fleet.registration import KnownDevice, forms_of
from devices.models import Registration
from ingest.door import refused as counting
from ingest.door.accept import Arrival, device_of, readings_entries
from ingest.door.authentication import TenantCache
from ingest.door.directory import directory
from ingest.door.limits import Messages, is_limited, limits_give_back, limits_take
from ingest.door.refusals import Code
from ingest.messages.errors import ForeignDevice, InvalidMessage, LimitReached
from ingest.messages.heartbeat import HeartbeatMessage, heartbeat_decode
from ingest.messages.readings import DecodedReadings, ReadingMessage, readings_decode
from ingest.stream.entries import Entry, HeartbeatEntry, heartbeat_entry
from ingest.stream.shards import append

TELEMETRY = "tenant/+/device/+/telemetry"
HEARTBEAT = "tenant/+/device/+/heartbeat"
MAX_BYTES = 256 * 1024

UNKNOWN_TENANT = "there is no active tenant with this name"

_topic = re.compile(r"tenant/([^/]+)/device/([^/]+)/(telemetry|heartbeat)")


class Published(NamedTuple):
    """A message as it came from the broker, and when it reached us."""

    topic: str
    payload: bytes
    received_at: datetime


class Refused(NamedTuple):
    """A message, or a reading of it, that cannot be accepted."""

    code: str
    topic: str
    reason: str


class BatchOutcome(NamedTuple):
    """How many heartbeats and readings were accepted, and which were refused. `waiting` are
    messages that are neither, because the database cannot say who sent them: positions in the batch
    and reasons.
    """

    accepted: int
    refused: list[Refused]
    waiting: Mapping[int, str] = {}


class _Addressed(NamedTuple):
    position: int
    published: Published
    tenant: str
    device_id: str
    decoded: HeartbeatMessage | DecodedReadings

    def others(self) -> set[str]:
        """The names in the body, except that in the topic."""
        said = self.decoded
        bodies = (said,) if isinstance(said, HeartbeatMessage) else said.messages
        names = {one.device_id for one in bodies}
        return {name for name in names if name is not None and name != self.device_id}


class _Names(NamedTuple):
    """What is known about names in topics and bodies: their devices, and canonical forms."""

    devices: Mapping[str, KnownDevice] = {}
    forms: Mapping[str, str] = {}

    def are_one(self, topic: str, other: str) -> bool:
        """True if the device of the topic has the other name too, or would have it if it were
        registered."""
        device = self.devices.get(topic)
        if device is None:
            return topic in self.forms and self.forms[topic] == self.forms.get(other)
        return other in self.devices and self.devices[other].id == device.id


class _Understood(NamedTuple):
    """A heartbeat of a known device, and the values that are left out."""

    published: Published
    device: KnownDevice
    entry: HeartbeatEntry
    ignored: Sequence[tuple[str, str]]


class _Known(NamedTuple):
    """Messages from one tenant whose devices are known."""

    speaker: Speaker
    devices: Mapping[str, KnownDevice]
    addressed: list[_Addressed]


def batch_accept(*, messages: Sequence[Published], tenants: TenantCache) -> BatchOutcome:
    """Returns once every valid message is on disk in the stream, except the waiting ones, which the
    caller can pass in again.

    Raises StreamAway; then nothing was accepted, and the caller can pass in all of them again.
    """
    batch = _Batch(tenants)
    # All names are looked up before any tokens are taken from limits.
    known = list(batch.known(messages))
    try:
        for one in known:
            batch.put(one)
        if batch.entries:
            append(*batch.entries)
    except BaseException:
        batch.give_back()
        raise
    counting.published_refused(batch.to_count, tenants=tenants)
    for tenant_id, left_out in batch.ignored:
        counting.ignored_note(left_out, tenant_id=tenant_id)
    return BatchOutcome(batch.accepted, batch.refused, batch.waiting)


class _Batch:
    """One batch on its way into the stream."""

    def __init__(self, tenants: TenantCache) -> None:
        self.entries: list[Entry] = []
        self.accepted = 0
        self.refused: list[Refused] = []
        self.to_count: list[counting.Published] = []
        self.ignored: list[tuple[int, counting.IgnoredIn]] = []
        self.waiting: dict[int, str] = {}
        self._tenants = tenants
        self._taken: list[tuple[Speaker, Messages]] = []

    def known(self, messages: Iterable[Published]) -> Iterator[_Known]:
        """The valid messages by tenant. The others are refused, or wait."""
        for tenant, addressed in _by_tenant(self._read(messages)).items():
            try:
                speaker = self._tenants.speaker(tenant)
            except OperationalError as error:
                self._wait(addressed, error)
                continue
            if speaker is not None:
                yield self._known(speaker, addressed)
                continue
            for one in addressed:
                self._refuse(one.published, "unknown_tenant", UNKNOWN_TENANT)

    def put(self, known: _Known) -> None:
        """Adds one tenant's messages to the entries, as far as limits allow."""
        heartbeats = [one for one in known.addressed if isinstance(one.decoded, HeartbeatMessage)]
        if heartbeats:
            self._put_heartbeats(known._replace(addressed=heartbeats))
        if len(heartbeats) < len(known.addressed):
            self._put_readings(known)

    def give_back(self) -> None:
        """Gives the tokens back to the limits: the messages will come again."""
        for speaker, taken in self._taken:
            limits_give_back(speaker=speaker, taken=taken)

    def _read(self, messages: Iterable[Published]) -> Iterator[_Addressed]:
        for position, published in enumerate(messages):
            found = _topic.fullmatch(published.topic)
            if found is None:
                self._refuse(published, "topic", f"expected {TELEMETRY} or {HEARTBEAT}")
            elif len(published.payload) > MAX_BYTES:
                self._refuse(published, "too_large", f"more than {MAX_BYTES // 1024} KiB")
            else:
                tenant, device_id, kind = found.groups()
                try:
                    decoded = _decode(kind, published)
                except InvalidMessage as error:
                    self._refuse(published, "invalid", error.reason, field=error.field)
                else:
                    yield _Addressed(position, published, tenant, device_id, decoded)

    def _known(self, speaker: Speaker, addressed: Sequence[_Addressed]) -> _Known:
        addressed, names_known = self._names(speaker, addressed)
        of_device = [one for one in addressed if _needs_device(one, names_known)]
        # In the order of the messages: a new device keeps its first spelling.
        names = list(dict.fromkeys(one.device_id for one in of_device))
        try:
            resolved = directory.resolve(speaker, names)
        except OperationalError as error:
            resolved = directory.remembered(speaker, names)
            unseen = (one for one in of_device if one.device_id not in resolved.devices)
            self._wait(unseen, error)
        for one in of_device:
            if reason := resolved.refused.get(one.device_id):
                self._refuse(one.published, "unknown_device", reason)
        known = [
            one
            for one in addressed
            if one.device_id in resolved.devices or not _needs_device(one, names_known)
        ]
        return _Known(speaker, resolved.devices, known)

    def _names(
        self, speaker: Speaker, addressed: Sequence[_Addressed]
    ) -> tuple[Sequence[_Addressed], _Names]:
        """The messages that need not wait, and what is known about the names of those whose body
        has others than the topic: aliases, perhaps. This registers nothing."""
        asked = {
            one.position: {one.device_id, *others} for one in addressed if (others := one.others())
        }
        if not asked:
            return addressed, _Names()
        every = {name for names in asked.values() for name in names}
        try:
            devices = directory.known(speaker, every)
            may_register = speaker.registration != Registration.OFF
            forms = forms_of(every - devices.keys()) if may_register else {}
            return addressed, _Names(devices, forms)
        except OperationalError as error:
            devices = directory.remembered(speaker, every).devices
            lost = {position for position, names in asked.items() if not names <= devices.keys()}
            self._wait((one for one in addressed if one.position in lost), error)
            return [one for one in addressed if one.position not in lost], _Names(devices)

    def _wait(self, addressed: Iterable[_Addressed], error: OperationalError) -> None:
        self.waiting |= {one.position: str(error).strip() for one in addressed}

    def _put_heartbeats(self, known: _Known) -> None:
        speaker, devices, addressed = known
        understood: list[_Understood] = []
        for _, published, _, name, decoded in addressed:
            device = devices[name]
            assert isinstance(decoded, HeartbeatMessage)
            try:
                device_of(decoded.device_id, _as_speaker(speaker, name, device))
            except ForeignDevice as error:
                self._refuse(published, "forbidden", str(error))
            else:
                entry = heartbeat_entry(
                    message=decoded,
                    tenant_id=speaker.tenant_id,
                    device_id=device.id,
                    received_at=published.received_at,
                    is_pending=device.is_pending,
                )
                understood.append(_Understood(published, device, entry, decoded.ignored))
        self._add_heartbeats(speaker, understood)

    def _add_heartbeats(self, speaker: Speaker, heartbeats: Sequence[_Understood]) -> None:
        """Adds the messages that the limits let through."""
        counts = Counter(one.device for one in heartbeats)
        reached: Mapping[int, LimitReached] = {}
        if is_limited(speaker, counts):
            try:
                taken, reached = limits_take(speaker=speaker, messages=counts)
                self._taken.append((speaker, taken))
            except LimitReached as error:
                reached = {device.id: error for device in counts}
        for published, device, entry, ignored in heartbeats:
            if limit := reached.get(device.id):
                self._refuse(published, "limit", str(limit), counted=Code(limit.code))
            else:
                self.entries.append(entry)
                self.accepted += 1
                if ignored:
                    left_out = counting.IgnoredIn(
                        published.payload, published.received_at, device.id, ignored
                    )
                    self.ignored.append((speaker.tenant_id, left_out))

    def _put_readings(self, known: _Known) -> None:
        """All readings from the tenant become one entry."""
        speaker, devices, addressed = known
        messages: list[ReadingMessage] = []
        sources: list[Published] = []
        for _, published, _, name, decoded in addressed:
            if not isinstance(decoded, DecodedReadings):
                continue
            for refusal in decoded.refused:
                self._refuse(
                    published,
                    refusal.code,
                    refusal.reason,
                    field=refusal.field,
                    position=None if decoded.is_single else refusal.position,
                )
            own: Collection[str | None] = (None, name)
            if name in devices:
                who = _as_speaker(speaker, name, devices[name])
                own = directory.own_names(who, {one.device_id for one in decoded.messages})
            for message in decoded.messages:
                if message.device_id not in own:
                    self._refuse(published, "forbidden", f"it names {message.device_id}")
                    continue
                messages.append(message._replace(position=len(sources), device_id=name))
                sources.append(published)
        arrival = Arrival(speaker, addressed[-1].published.received_at, None)
        try:
            put = readings_entries(messages=messages, arrival=arrival)
        except LimitReached as error:
            for published in sources:
                self._refuse(published, "limit", str(error), counted=Code(error.code))
            return
        self._taken.append((speaker, put.taken))
        self.entries += put.entries
        self.accepted += put.accepted
        for refusal in put.refused:
            self._refuse(sources[refusal.position], refusal.code, refusal.reason)

    def _refuse(
        self,
        published: Published,
        code: str,
        reason: str,
        *,
        field: str = "",
        position: int | None = None,
        counted: Code | None = None,
    ) -> None:
        """`field` and `position` say what in the message is wrong; `counted` is the code it is
        counted by, if it is not the one in the log."""
        words = f"{field}: {reason}" if field else reason
        self.refused.append(Refused(code, published.topic, words))
        if counts_as := counted or counting.CODES.get(code):
            self.to_count.append(
                counting.Published(
                    topic=published.topic,
                    payload=published.payload,
                    received_at=published.received_at,
                    code=counts_as,
                    field=field,
                    reason=reason,
                    position=position,
                )
            )


def _by_tenant(addressed: Iterable[_Addressed]) -> dict[str, list[_Addressed]]:
    groups: dict[str, list[_Addressed]] = defaultdict(list)
    for one in addressed:
        groups[one.tenant].append(one)
    return groups


def _needs_device(one: _Addressed, names: _Names) -> bool:
    """False if all its readings will be refused: then the device must not be registered."""
    if isinstance(one.decoded, HeartbeatMessage):
        return True
    others = one.others()
    return any(message.device_id not in others for message in one.decoded.messages) or any(
        names.are_one(one.device_id, name) for name in others
    )


def _as_speaker(speaker: Speaker, name: str, device: KnownDevice) -> Speaker:
    """The device that a topic names, as one that speaks for itself."""
    return replace(speaker, id=device.id, device_id=name, is_pending=device.is_pending)


def _decode(kind: str, published: Published) -> HeartbeatMessage | DecodedReadings:
    # Each message has its own time of receipt. Otherwise two readings without a time, in the same
    # batch, would count as duplicates.
    if kind == "heartbeat":
        return heartbeat_decode(published.payload, received_at=published.received_at)
    return readings_decode(published.payload, lines=False, received_at=published.received_at)
