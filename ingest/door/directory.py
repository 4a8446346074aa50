"""Which device a message's `device_id` refers to, cached for a while."""

import threading
from collections.abc import Callable, Collection, Mapping
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
MAX_UNKNOWN = 10_000


class Resolved(NamedTuple):
    """Devices by their own names, and the reason for each name without a device."""

    devices: dict[str, KnownDevice]
    refused: dict[str, str]


class _Remembered(NamedTuple):
    device: KnownDevice
    until: float


class Directory:
    """Caches names as they are spelled in messages. Unknown ones are looked up each time, except
    those that a device's key is not for."""

    def __init__(self) -> None:
        self._remembered: dict[tuple[int, str], _Remembered] = {}
        self._unknown_until: dict[tuple[int, str], float] = {}
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

        def ask(missing: Collection[str]) -> Resolved:
            return self._find_or_register(speaker, missing, described)

        return self._resolve(speaker.tenant_id, names, ask)

    def known(self, speaker: Speaker, names: Collection[str]) -> dict[str, KnownDevice]:
        """Those of these devices that the speaker's tenant has; registers nothing. A name that is
        unknown is not looked up again for a few seconds.

        Raises OperationalError if the database is unavailable and a name is not cached.
        """
        tenant_id, now = speaker.tenant_id, monotonic()
        asked = [one for one in names if self._unknown_until.get((tenant_id, one), 0) <= now]

        def ask(missing: Collection[str]) -> Resolved:
            return Resolved(devices_find(tenant_id=tenant_id, device_ids=missing), {})

        found = self._resolve(tenant_id, asked, ask).devices
        if unknown := [one for one in asked if one not in found]:
            with self._lock:
                if len(self._unknown_until) > MAX_UNKNOWN:
                    self._unknown_until.clear()
                until = now + REMEMBER_PENDING_S
                self._unknown_until |= {(tenant_id, one): until for one in unknown}
        return found

    def own_names(self, speaker: Speaker, names: Collection[str | None]) -> set[str | None]:
        """Those of the names in a device's messages that mean the device itself: none at all, its
        ID, an alias, or one of these in another spelling. Raises OperationalError as `known` does.
        """
        own = {name for name in names if name in (None, speaker.device_id)}
        if others := [name for name in names if name is not None and name not in own]:
            known = self.known(speaker, others)
            own |= {name for name, device in known.items() if device.id == speaker.id}
        return own

    def _resolve(
        self, tenant_id: int, names: Collection[str], ask: Callable[[Collection[str]], Resolved]
    ) -> Resolved:
        now = monotonic()
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
                asked = ask(missing)
        except OperationalError:
            self._outage.begin(monotonic())
            if len(stale) < len(missing):
                raise
            return Resolved(found | stale, {})
        self._outage.end()
        self._remember(tenant_id, asked.devices, now)
        return Resolved(found | asked.devices, asked.refused)

    def _find_or_register(
        self, speaker: Speaker, names: Collection[str], described: Mapping[str, Description]
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
        if registered.devices:
            self._unknown_until.clear()
        return Resolved(known | registered.devices, registered.refused)

    def remembered(self, speaker: Speaker, names: Collection[str]) -> Resolved:
        """The devices that are cached, even if stale; does not ask the database."""
        found, stale = self._recall(speaker.tenant_id, names, monotonic())
        return Resolved(found | stale, {})

    def find(self, speaker: Speaker, names: Collection[str]) -> dict[str, int]:
        """Our ids of those of these devices that exist, by name; registers none. While the database
        is unavailable, only cached devices are found."""
        try:
            found = self.known(speaker, names)
        except OperationalError:
            found = self.remembered(speaker, names).devices
        return {name: one.id for name, one in found.items()}

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


directory = Directory()
