"""Which device a message's `device_id` refers to, cached for a while."""

import threading
from collections.abc import Collection, Mapping
from time import monotonic
from typing import NamedTuple

from django.db import OperationalError

from devices.fleet.keys import Speaker
from devices.fleet.registration import (
    NOT_DESCRIBED,
    UNKNOWN,
    Description,
    KnownDevice,
    devices_find,
    devices_register,
)
from devices.models import Registration
from devices.tenancy.scope import tenant_scope
from ingest.door.database_outage import UNAVAILABLE, DatabaseOutage

REMEMBER_S = 30
# A device that waits for approval is looked up again soon.
REMEMBER_PENDING_S = 3
MAX_REMEMBERED = 500_000
# Of a refused message, whose device may be added any moment.
REMEMBER_UNKNOWN_S = 3
MAX_UNKNOWN = 10_000


class Resolved(NamedTuple):
    """Devices by their own names, and the reason for each name without a device."""

    devices: dict[str, KnownDevice]
    refused: dict[str, str]


class _Remembered(NamedTuple):
    device: KnownDevice
    until: float


class Directory:
    """Caches known names; `resolve` looks up unknown ones each time."""

    def __init__(self) -> None:
        self._remembered: dict[tuple[int, str], _Remembered] = {}
        # Names without a device, until when; only `find` goes by it.
        self._unknown: dict[tuple[int, str], float] = {}
        self._lock = threading.Lock()
        self._outage = DatabaseOutage()

    def resolve(
        self,
        speaker: Speaker,
        names: Collection[str],
        described: Mapping[str, Description] = NOT_DESCRIBED,
    ) -> Resolved:
        """The devices of the speaker's tenant with these names. Unknown ones are registered, as
        `described`, if the tenant allows it.

        Raises OperationalError if the database is unavailable and a name is not cached.
        """
        now = monotonic()
        tenant_id = speaker.tenant_id
        found, stale = self._recall(tenant_id, names, now)
        missing = [name for name in names if name not in found]
        if not missing:
            return Resolved(found, {})
        if not self._outage.may_ask(now):
            if len(stale) < len(missing):
                raise OperationalError(UNAVAILABLE)
            return Resolved(found | stale, {})
        try:
            with tenant_scope(tenant_ids=[tenant_id]):
                asked = _ask(speaker, missing, described)
        except OperationalError:
            self._outage.begin(monotonic())
            if len(stale) < len(missing):
                raise
            return Resolved(found | stale, {})
        self._outage.end()
        self._remember(tenant_id, asked.devices, now)
        return Resolved(found | asked.devices, asked.refused)

    def remembered(self, speaker: Speaker, names: Collection[str]) -> Resolved:
        """The devices that are cached, even if stale; does not ask the database."""
        found, stale = self._recall(speaker.tenant_id, names, monotonic())
        return Resolved(found | stale, {})

    def find(self, speaker: Speaker, names: Collection[str]) -> dict[str, int]:
        """Our ids of those of these devices that exist, by name; registers none. Unknown names are
        remembered, too, so that many messages of one cost one query. While the database is
        unavailable, only cached devices are found."""
        now = monotonic()
        tenant_id = speaker.tenant_id
        found, stale = self._recall(tenant_id, names, now)
        missing = [
            name
            for name in names
            if name not in found and self._unknown.get((tenant_id, name), 0.0) <= now
        ]
        if missing and self._outage.may_ask(now):
            try:
                with tenant_scope(tenant_ids=[tenant_id]):
                    asked = devices_find(tenant_id=tenant_id, device_ids=missing)
            except OperationalError:
                self._outage.begin(monotonic())
            else:
                self._outage.end()
                self._remember(tenant_id, asked, now)
                self._remember_unknown(tenant_id, missing, asked, now)
                return {name: one.id for name, one in (found | asked).items()}
        return {name: one.id for name, one in (found | stale).items()}

    def _remember_unknown(
        self, tenant_id: int, names: Collection[str], known: Collection[str], now: float
    ) -> None:
        with self._lock:
            for name in names:
                if name not in known:
                    self._unknown[tenant_id, name] = now + REMEMBER_UNKNOWN_S
            while len(self._unknown) > MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]

    def _recall(
        self, tenant_id: int, names: Collection[str], now: float
    ) -> tuple[dict[str, KnownDevice], dict[str, KnownDevice]]:
        """The devices whose cache entry is fresh, and those whose entry is stale."""
        found: dict[str, KnownDevice] = {}
        stale: dict[str, KnownDevice] = {}
        for name in names:
            if known := self._remembered.get((tenant_id, name)):
                (found if known.until > now else stale)[name] = known.device
        return found, stale

    def _remember(self, tenant_id: int, devices: dict[str, KnownDevice], now: float) -> None:
        with self._lock:
            for name, device in devices.items():
                self._remembered.pop((tenant_id, name), None)
                life = REMEMBER_PENDING_S if device.is_pending else REMEMBER_S
                self._remembered[tenant_id, name] = _Remembered(device, now + life)
            while len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]


def _ask(
    speaker: Speaker, names: Collection[str], described: Mapping[str, Description]
) -> Resolved:
    known = devices_find(tenant_id=speaker.tenant_id, device_ids=names)
    unknown = [name for name in names if name not in known]
    if not unknown:
        return Resolved(known, {})
    if speaker.registration == Registration.OFF:
        return Resolved(known, dict.fromkeys(unknown, UNKNOWN))
    registered = devices_register(
        tenant_id=speaker.tenant_id, device_ids=unknown, described=described
    )
    return Resolved(known | registered.devices, registered.refused)


directory = Directory()
