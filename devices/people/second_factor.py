"""The second factor: how its secrets are stored, and who must set one up."""

import base64
import hashlib
from collections.abc import Callable
from math import ceil
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from channels.db import database_sync_to_async
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.utils.encoding import force_bytes

from devices.http.paths import is_api_path, is_open_path
from devices.http.problems import problem

# Recovery codes do not count as a factor: they only come with one.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
WORDS = "This installation requires a second factor. Set one up to continue."
PURPOSE = b"rollcall.second_factor:"


class SecondFactorAdapter(DefaultMFAAdapter):
    """Encrypts secrets with SECRET_KEY, so that access to the database is not enough to open an
    account.

    When SECRET_KEY has changed, factors keep working as long as the old key is in
    SECRET_KEY_FALLBACKS; otherwise they must be set up again.
    """

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises ValueError if none of the keys can decrypt it."""
        try:
            return _fernet().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise ValueError("a second factor was encrypted with a different SECRET_KEY") from None


class SecondFactorMiddleware:
    """If REQUIRE_SECOND_FACTOR is set, redirects staff who have no second factor to the page where
    they set one up.

    This covers sessions; the API does not issue tokens to people who lack a required factor.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_open_path(request.path_info) or not lacks_second_factor(request.user):
            return self._get_response(request)
        if is_api_path(request.path_info):
            return problem(403, WORDS)
        messages.warning(request, WORDS)
        return redirect("mfa_index")


class SecondFactorGate:
    """The same for WebSockets: people who lack a required second factor are treated as not signed
    in."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if await database_sync_to_async(lacks_second_factor)(scope["user"]):
            scope = {**scope, "user": AnonymousUser()}
        return await self._inner(scope, receive, send)


def lacks_second_factor(user: AbstractBaseUser | AnonymousUser) -> bool:
    """True if the person must set up a second factor before doing anything else."""
    if not (settings.REQUIRE_SECOND_FACTOR and user.is_authenticated):
        return False
    if not getattr(user, "is_staff", False):
        return False
    return not Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists()


def too_many_codes(wait_s: int) -> str:
    """The error while no code from a person is accepted, not even a correct one."""
    minutes = ceil(wait_s / 60)
    return f"Too many wrong codes; try again in {minutes} minute{pluralize(minutes)}."


def _fernet() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    derived = [hashlib.sha256(PURPOSE + force_bytes(key)).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])
