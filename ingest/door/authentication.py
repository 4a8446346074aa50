"""Who is speaking: keys are looked up in the database and remembered for a moment."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.db import OperationalError, close_old_connections, connection
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from devices.fleet.keys import Speaker, speaker_for_tenant, speakers_for_keys
from ingest.door.database_outage import UNAVAILABLE, DatabaseOutage

CHALLENGE = 'Bearer realm="rollcall"'
MAX_REMEMBERED = 200_000
# With the database away, a key that was good at last sight is trusted for so long.
TRUST_WHILE_AWAY_S = 600


class _Remembered(NamedTuple):
    speaker: Speaker
    checked_at: float


class KeyCache:
    """Keys that were good within the last INGEST_KEY_CACHE_S seconds, at most 5: a revoked key
    is refused after that. Unknown keys are not remembered, so that a new one works at once.

    When a key has to be checked, others that will have to be soon are checked with it: a query for
    100 costs hardly more than one for 1. Devices speak at regular intervals, so that of those that
    spoke, the next ones are those that have been silent for longest.
    """

    at_once = 100

    def __init__(self) -> None:
        self._remembered: dict[str, _Remembered] = {}
        # Keys that spoke since they were last checked for others' sake, the longest silent first.
        self._spoke: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._outage = DatabaseOutage()

    def speaker(self, key: str) -> Speaker | None:
        """Whose key this is, or None. Raises OperationalError if nobody can tell."""
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
        self._remember(keys, found, now)
        if key in found:
            self._note_spoke(key)
        return found.get(key)

    def _look_up(self, keys: Sequence[str]) -> Mapping[str, Speaker]:
        try:
            return speakers_for_keys(keys)
        finally:
            # The body may be long in coming, and others need a connection meanwhile.
            if not connection.in_atomic_block:
                close_old_connections()

    def _note_spoke(self, key: str) -> None:
        with self._lock:
            self._spoke[key] = None
            self._spoke.move_to_end(key)

    def _due_next(self, now: float) -> list[str]:
        """Keys that will speak next and whose time is more than half over by then.

        One that does not speak after all is not checked with others again.
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
    """The same for tenants, by their slugs, where the broker has checked the key: whoever
    publishes speaks like a gateway of the tenant."""

    at_once = 1

    def _look_up(self, keys: Sequence[str]) -> Mapping[str, Speaker]:
        speakers = {key: speaker_for_tenant(key) for key in keys}
        return {key: speaker for key, speaker in speakers.items() if speaker}


_cache = KeyCache()


class DeviceKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <device key>`; `request.user` is a Speaker."""

    def authenticate(self, request: Request) -> tuple[Speaker, None]:
        # Not request.headers, which would first sort out all headers.
        scheme, _, key = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise AuthenticationFailed("Send a key as `Authorization: Bearer <key>`.")
        speaker = _cache.speaker(key.strip())
        if speaker is None:
            raise AuthenticationFailed("This key is unknown or revoked, or its tenant is inactive.")
        return speaker, None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
