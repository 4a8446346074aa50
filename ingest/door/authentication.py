"""Who sends a message: keys are looked up in the database and cached for a few seconds."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.db import OperationalError, close_old_connections, connection
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from devices.fleet.keys import FoundKeys, RevokedKey, Speaker, keys_find, speaker_for_tenant
from devices.http.origin import client_address
from ingest.door.database_outage import UNAVAILABLE, DatabaseOutage
from ingest.door.refusals import Code, refusals_note, unknown_key_note
from ingest.door.samples import Sample

CHALLENGE = 'Bearer realm="rollcall"'
MAX_REMEMBERED = 200_000
# While the database is unavailable, a key that was valid when last checked is trusted this long.
TRUST_WHILE_AWAY_S = 600


class _Remembered(NamedTuple):
    speaker: Speaker
    checked_at: float


class KeyCache:
    """Keys that were valid within the last INGEST_KEY_CACHE_S seconds, at most 5: after that, a
    revoked key is refused. Unknown keys are not cached, so a new key works at once.

    When a key has to be checked, others that are due soon are checked with it: a query for 100 keys
    costs hardly more than a query for one. Devices send at regular intervals, so the keys that will
    be used next are those that have been silent the longest.
    """

    at_once = 100

    def __init__(self) -> None:
        self._remembered: dict[str, _Remembered] = {}
        # Keys used since they were last checked along with a different key, longest silent first.
        self._spoke: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._outage = DatabaseOutage()

    def speaker(self, key: str) -> Speaker | None:
        """The key's owner, or None if it is not valid. Raises OperationalError as `find` does."""
        found = self.find(key)
        return found if isinstance(found, Speaker) else None

    def find(self, key: str) -> Speaker | RevokedKey | None:
        """The key's owner, whose it was if it has been revoked, or None if it is unknown. Raises
        OperationalError if the database is unavailable and the key was not valid within
        TRUST_WHILE_AWAY_S."""
        known = self._remembered.get(key)
        now = monotonic()
        if known and now - known.checked_at < settings.INGEST_KEY_CACHE_S:
            self._note_spoke(key)
            return known.speaker
        trusted = known if known and now - known.checked_at < TRUST_WHILE_AWAY_S else None
        if not self._outage.may_ask(now):
            if trusted:
                return trusted.speaker
            raise OperationalError(UNAVAILABLE)
        keys = [key, *self._due_next(now)]
        try:
            found = self._look_up(keys)
        except OperationalError:
            self._outage.begin(monotonic())
            if trusted:
                return trusted.speaker
            raise
        self._outage.end()
        self._remember(keys, found.speakers, now)
        if key in found.speakers:
            self._note_spoke(key)
        return found.speakers.get(key) or found.revoked.get(key)

    def _look_up(self, keys: Sequence[str]) -> FoundKeys:
        try:
            return keys_find(keys)
        finally:
            # The body may arrive slowly, and other requests need the connection meanwhile.
            if not connection.in_atomic_block:
                close_old_connections()

    def _note_spoke(self, key: str) -> None:
        with self._lock:
            self._spoke[key] = None
            self._spoke.move_to_end(key)

    def _due_next(self, now: float) -> list[str]:
        """Keys that will probably be used next, and were checked more than half their time ago.

        A key that ends up unused is not checked along with others again.
        """
        with self._lock:
            return list(self._take_next(now - settings.INGEST_KEY_CACHE_S / 2))

    def _take_next(self, checked_before: float) -> Iterator[str]:
        room = self.at_once - 1
        while room and self._spoke:
            key = next(iter(self._spoke))
            known = self._remembered.get(key)
            if known and known.checked_at >= checked_before:
                return
            del self._spoke[key]
            if known:
                room -= 1
                yield key

    def _remember(self, keys: Sequence[str], found: Mapping[str, Speaker], now: float) -> None:
        with self._lock:
            for key in keys:
                self._remembered.pop(key, None)
                if key in found:
                    self._remembered[key] = _Remembered(found[key], now)
            while len(self._remembered) > MAX_REMEMBERED:
                forgotten = next(iter(self._remembered))
                del self._remembered[forgotten]
                self._spoke.pop(forgotten, None)


class TenantCache(KeyCache):
    """A KeyCache for tenants, by slug. The broker has checked the key already, so a publisher
    counts as a gateway of the tenant."""

    at_once = 1

    def _look_up(self, keys: Sequence[str]) -> FoundKeys:
        speakers = {key: speaker_for_tenant(key) for key in keys}
        return FoundKeys({key: speaker for key, speaker in speakers.items() if speaker}, {})


_cache = KeyCache()


class DeviceKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <device key>`; `request.user` is a Speaker."""

    def authenticate(self, request: Request) -> tuple[Speaker, None]:
        # Not request.headers, which would parse all headers first.
        scheme, _, key = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise AuthenticationFailed("Send a key as `Authorization: Bearer <key>`.")
        found = _cache.find(key.strip())
        if isinstance(found, Speaker):
            return found, None
        _count_refused(key.strip(), found, client_address(request._request))
        raise AuthenticationFailed("This key is unknown or revoked, or its tenant is inactive.")

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _count_refused(key: str, revoked: RevokedKey | None, address: str | None) -> None:
    """Counts that a key was tried which is unknown or, if its whole secret is right, revoked."""
    if revoked is None:
        unknown_key_note(key=key, address=address)
        return
    day = revoked.revoked_at.astimezone(UTC).date().isoformat()
    words = f"a key revoked on {day} (rc_{revoked.prefix}_…)"
    refusals_note(
        tenant_id=revoked.tenant_id,
        device=revoked.device,
        code=Code.REVOKED_KEY,
        reason=words,
        sample=lambda: Sample(words, f"sent from {address}" if address else ""),
    )
