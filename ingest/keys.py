"""Who is speaking: keys are looked up in the database and remembered for a moment."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from django.conf import settings
from django.db import OperationalError
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from devices.credentials import Speaker, speaker_for_tenant, speakers_for_keys
from ingest.absence import Absence

CHALLENGE = 'Bearer realm="rollcall"'
MAX_REMEMBERED = 200_000
# With the database away, a key that was good at last sight is trusted for so long.
TRUST_WHILE_AWAY_S = 600


@dataclass(slots=True)
class _Remembered:
    """`is_used` says whether the key was used after it was checked."""

    speaker: Speaker
    checked_at: float
    is_used: bool = False


class KeyCache:
    """Keys that were good within the last INGEST_KEY_CACHE_S seconds, at most 5: a revoked key
    is refused after that. Unknown keys are not remembered, so that a new one works at once.

    When a key has to be checked, others in use that will have to be soon are checked with it: a
    query for 100 costs hardly more than one for 1.
    """

    at_once = 100

    def __init__(self) -> None:
        self._remembered: dict[str, _Remembered] = {}
        # (when it was checked, key) of those in use, about in the order in which they expire.
        self._used: deque[tuple[float, str]] = deque(maxlen=MAX_REMEMBERED)
        self._lock = threading.Lock()
        self._absence = Absence()

    def speaker(self, key: str) -> Speaker | None:
        """Whose key this is, or None. Raises OperationalError if nobody can tell."""
        known = self._remembered.get(key)
        now = monotonic()
        if known and now - known.checked_at < settings.INGEST_KEY_CACHE_S:
            if not known.is_used:
                known.is_used = True
                self._used.append((known.checked_at, key))
            return known.speaker
        trusted = known if known and now - known.checked_at < TRUST_WHILE_AWAY_S else None
        if trusted and not self._absence.may_ask(now):
            return trusted.speaker
        keys = [key, *self._due_soon(now)]
        try:
            found = self._look_up(keys)
        except OperationalError:
            self._absence.begin(monotonic())
            if trusted:
                return trusted.speaker
            raise
        self._absence.end()
        self._remember(keys, found, now)
        return found.get(key)

    def _look_up(self, keys: Sequence[str]) -> Mapping[str, Speaker]:
        return speakers_for_keys(keys)

    def _due_soon(self, now: float) -> Sequence[str]:
        """Keys in use whose time is more than half over."""
        with self._lock:
            return list(self._take_used(now, settings.INGEST_KEY_CACHE_S))

    def _take_used(self, now: float, life_s: float) -> Iterator[str]:
        room = self.at_once - 1
        while room and self._used and now - self._used[0][0] > life_s / 2:
            checked_at, key = self._used.popleft()
            known = self._remembered.get(key)
            # Not those that were checked again meanwhile, or have been silent for a while.
            if known and known.checked_at == checked_at and now - checked_at < 2 * life_s:
                room -= 1
                yield key

    def _remember(self, keys: Sequence[str], found: Mapping[str, Speaker], now: float) -> None:
        with self._lock:
            for key in keys:
                self._remembered.pop(key, None)
                if key in found:
                    self._remembered[key] = _Remembered(found[key], now)
            while len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]


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
            raise AuthenticationFailed("This key is unknown or has been revoked.")
        return speaker, None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
