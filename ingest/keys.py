"""Who is speaking: keys are looked up in the database and remembered for a moment."""

import threading
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.db import OperationalError
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from devices.credentials import Speaker, speaker_for_key, speaker_for_tenant
from ingest.absence import Absence

CHALLENGE = 'Bearer realm="rollcall"'
MAX_REMEMBERED = 200_000
# With the database away, a key that was good at last sight is trusted for so long.
TRUST_WHILE_AWAY_S = 600


class _Remembered(NamedTuple):
    speaker: Speaker
    checked_at: float


class KeyCache:
    """Keys that were good within the last INGEST_KEY_CACHE_S seconds, at most 5: a revoked key
    is refused after that. Unknown keys are not remembered, so that a new one works at once."""

    def __init__(self) -> None:
        self._remembered: dict[str, _Remembered] = {}
        self._lock = threading.Lock()
        self._absence = Absence()

    def speaker(self, key: str) -> Speaker | None:
        """Whose key this is, or None. Raises OperationalError if nobody can tell."""
        known = self._remembered.get(key)
        now = monotonic()
        if known and now - known.checked_at < settings.INGEST_KEY_CACHE_S:
            return known.speaker
        trusted = known if known and now - known.checked_at < TRUST_WHILE_AWAY_S else None
        if trusted and not self._absence.may_ask(now):
            return trusted.speaker
        try:
            speaker = self._look_up(key)
        except OperationalError:
            self._absence.begin(monotonic())
            if trusted:
                return trusted.speaker
            raise
        self._absence.end()
        self._remember(key, speaker, now)
        return speaker

    def _look_up(self, key: str) -> Speaker | None:
        return speaker_for_key(key)

    def _remember(self, key: str, speaker: Speaker | None, now: float) -> None:
        with self._lock:
            self._remembered.pop(key, None)
            if speaker is None:
                return
            self._remembered[key] = _Remembered(speaker, now)
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]


class TenantCache(KeyCache):
    """The same for tenants, by their slugs, where the broker has checked the key: whoever
    publishes speaks like a gateway of the tenant."""

    def _look_up(self, key: str) -> Speaker | None:
        return speaker_for_tenant(key)


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
