"""Second-factor codes, for pages and the API."""

import time
from math import ceil
from typing import Any

from allauth.core import context
from allauth.core.internal.ratelimit import get_cache_key, get_rates
from allauth.mfa import app_settings
from allauth.mfa.base import forms
from allauth.mfa.base.internal.flows import check_rate_limit
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp_forms
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ValidationError

from devices.people.second_factor import too_many_codes

TOO_MANY = "too_many_login_attempts"
USED = "used_code"
USED_WORDS = "This code has already been used; wait for the next one in your app."


class _CodeOnce:
    """For allauth's forms: makes sure that a code from the app works only once. Allauth forgets a
    used code after one period, although its tolerance means the code is accepted for longer.

    A code that was already used is rejected with that reason. It counts as a wrong code and,
    unlike a correct one, does not reset the count.
    """

    user: User
    authenticator: Authenticator
    cleaned_data: dict[str, Any]

    def clean_code(self) -> str:
        try:
            return self._clean_once()
        except ValidationError as error:
            if error.code != TOO_MANY:
                raise
            words = too_many_codes(codes_wait_s(self.user))
            raise ValidationError(words, code=TOO_MANY) from None

    def _clean_once(self) -> str:
        if cache.get(_used_key(self.user, self.cleaned_data["code"])) is not None:
            check_rate_limit(self.user)
            raise ValidationError(USED_WORDS, code=USED)
        code: str = super().clean_code()  # type: ignore[misc]
        is_app = self.authenticator.type == Authenticator.Type.TOTP
        if is_app and not _is_first_use(self.user, code):
            raise ValidationError(USED_WORDS, code=USED)
        return code


class AuthenticateForm(_CodeOnce, forms.AuthenticateForm):
    """For MFA_FORMS: used when a person signs in."""


class ReauthenticateForm(_CodeOnce, forms.ReauthenticateForm):
    """For MFA_FORMS: used when a signed-in person confirms who they are."""


class ActivateTOTPForm(totp_forms.ActivateTOTPForm):
    """For MFA_FORMS: used when a person sets up an app, which uses up the code."""

    def clean_code(self) -> str:
        code: str = super().clean_code()
        _is_first_use(self.user, code)
        return code


def codes_wait_s(user: User) -> int:
    """Seconds (at least 1) until another code from this person will be checked."""
    rates = get_rates(app="allauth.account", action="login_failed")
    return max(1, *(ceil(_rate_wait_s(user, rate)) for rate in rates))


def _rate_wait_s(user: User, rate: Any) -> float:
    key = get_cache_key(
        context.request,
        app="allauth.account",
        action="login_failed",
        rate=rate,
        key=f"mfa-auth-user-{user.pk}",
    )
    newest_first = cache.get(key, [])
    if len(newest_first) < rate.amount:
        return 0.0
    until: float = newest_first[rate.amount - 1] + rate.duration
    return until - time.time()


def _is_first_use(user: User, code: str) -> bool:
    """Marks the code as used; returns False if it already was."""
    valid_s = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
    return cache.add(_used_key(user, code), 1, timeout=valid_s)


def _used_key(user: User, code: str) -> str:
    digits = "".join(filter(str.isdigit, code))  # allauth accepts "123 456" too
    return f"second_factor.used:{user.pk}:{digits}"
