"""The code of a second factor, as pages and the API ask for it."""

import time
from math import ceil
from typing import Any

from allauth.core import context
from allauth.core.internal.ratelimit import get_cache_key, get_rates
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp_forms
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ValidationError

from devices.second_factor import too_many_codes

TOO_MANY = "too_many_login_attempts"


class _CodeOnce:
    """A form of allauth's, for which a code of the app works once for as long as it is valid:
    allauth forgets it after one period, though the tolerance lets it work for longer."""

    user: User
    authenticator: Authenticator

    def clean_code(self) -> str:
        try:
            code: str = super().clean_code()  # type: ignore[misc]
        except ValidationError as error:
            if error.code != TOO_MANY:
                raise
            words = too_many_codes(codes_wait_s(self.user))
            raise ValidationError(words, code=TOO_MANY) from None
        if self.authenticator.type == Authenticator.Type.TOTP and not _is_first_use(
            self.user, code
        ):
            raise get_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(_CodeOnce, forms.AuthenticateForm):
    """For MFA_FORMS: a person signs in."""


class ReauthenticateForm(_CodeOnce, forms.ReauthenticateForm):
    """For MFA_FORMS: somebody who is signed in says once more who they are."""


class ActivateTOTPForm(totp_forms.ActivateTOTPForm):
    """For MFA_FORMS: a person sets up an app, with a code that was used thereby."""

    def clean_code(self) -> str:
        code: str = super().clean_code()
        _is_first_use(self.user, code)
        return code


def codes_wait_s(user: User) -> int:
    """In how many seconds, at least 1, the next code of the person is looked at."""
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
    """Uses the code; False if it was used before."""
    digits = "".join(filter(str.isdigit, code))  # allauth takes "123 456" too
    valid_s = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
    return cache.add(f"second_factor.used:{user.pk}:{digits}", 1, timeout=valid_s)
