"""Who listens, by session or by token, and what that person may hear now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import AccessToken, Token

from devices.api.auth.person import person_of, token_read
from devices.http.quotas import Quota, Slot
from devices.tenancy.access import Access, access_of
from devices.tenancy.scope import access_scope
from monitoring.live.publisher import OPERATORS, change_as_json, status_as_change, tenant_group
from telemetry.models import DeviceStatus

NOBODY = Access(False, {})
# Of sockets and streams in this process.
quota = Quota()


@dataclass(frozen=True)
class Visitor:
    """A person identified by a session or a token.

    What they may hear is looked up each time: sessions end, tokens expire, memberships are removed,
    people are locked out or get a new password.
    """

    user_id: int
    session: SessionBase | None = None
    token: Token | None = None

    def expires_in_s(self, ts: datetime) -> float:
        """Seconds until the token expires; infinite for a session."""
        if self.token is None:
            return float("inf")
        return (datetime.fromtimestamp(self.token["exp"], UTC) - ts).total_seconds()

    @database_sync_to_async
    def groups(self) -> set[str]:
        """The groups that the person may join now; empty if they may not listen."""
        access = self._access()
        return {OPERATORS} if access.is_operator else set(map(tenant_group, access.roles))

    @database_sync_to_async
    def is_signed_in(self) -> bool:
        return self._user() is not None

    @database_sync_to_async
    def latest(self, ids: frozenset[int]) -> list[dict[str, Any]]:
        """The latest status of these devices, without those that the person may not see."""
        with access_scope(self._access(), reads=True):
            statuses = DeviceStatus.objects.filter(device_id__in=ids)
            return [change_as_json(status_as_change(status)) for status in statuses]

    @database_sync_to_async
    def devices_after(self, device_id: int, limit: int) -> Sequence[dict[str, Any]]:
        """The next devices that the person may see, ordered by our id."""
        with access_scope(self._access(), reads=True):
            statuses = DeviceStatus.objects.filter(device_id__gt=device_id)
            page = statuses.order_by("device_id")[:limit]
            return [change_as_json(status_as_change(status)) for status in page]

    def slot_take(self) -> Slot | None:
        """A slot for one more socket or stream, which the caller gives back; None if the person
        has as many open as settings.LIVE_CONNECTIONS allows."""
        return quota.take(self.user_id, most=settings.LIVE_CONNECTIONS)

    def _access(self) -> Access:
        user = self._user()
        return NOBODY if user is None else access_of(user)

    def _user(self) -> User | None:
        if self.token is not None:
            is_over = self.expires_in_s(timezone.now()) <= 0
            return None if is_over else _user_of(self.token)
        user = User.objects.filter(pk=self.user_id, is_active=True).first()
        return user if user and self.session and _is_signed_in(user, self.session) else None


def visitor_of_session(user: Any, session: SessionBase) -> Visitor | None:
    """The person signed in with the session; None if nobody is."""
    return Visitor(user.pk, session=session) if user.is_authenticated else None


@database_sync_to_async
def visitor_of_token(raw: str) -> Visitor | None:
    """The person of the access token; None if it is not a token or no longer valid."""
    try:
        token = token_read(AccessToken, raw.encode(errors="replace"))
    except AuthenticationFailed:
        return None
    user = _user_of(token)
    return Visitor(user.pk, token=token) if user else None


def _is_signed_in(user: User, session: SessionBase) -> bool:
    """True if the stored session still belongs to the person and to their current password."""
    stored = import_module(settings.SESSION_ENGINE).SessionStore(session.session_key)
    proof = stored.get(HASH_SESSION_KEY, "")
    good = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    is_own = stored.get(SESSION_KEY) == str(user.pk)
    return is_own and any(constant_time_compare(proof, one) for one in good)


def _user_of(token: Token) -> User | None:
    try:
        return person_of(token)
    except AuthenticationFailed:
        return None
