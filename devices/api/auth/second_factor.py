"""Checks second-factor codes outside of pages."""

from enum import Enum, auto

from allauth.mfa.utils import is_mfa_enabled
from django.contrib.auth.models import User

from devices.people.second_factor_codes import TOO_MANY, USED, AuthenticateForm


class Verdict(Enum):
    RIGHT = auto()
    MISSING = auto()
    WRONG = auto()
    USED = auto()
    TOO_MANY = auto()


def has_second_factor(user: User) -> bool:
    """True if the password alone is not enough for the person to sign in."""
    return is_mfa_enabled(user)


def code_judge(user: User, code: str) -> Verdict:
    """Returns RIGHT for an unused code from the authenticator app or an unused recovery code.

    Allauth counts wrong codes. After too many, codes are not checked for a while, and the result is
    TOO_MANY.
    """
    if not code:
        return Verdict.MISSING
    form = AuthenticateForm(user=user, data={"code": code})
    if form.is_valid():
        return Verdict.RIGHT
    if form.has_error("code", TOO_MANY):
        return Verdict.TOO_MANY
    if form.has_error("code", USED):
        return Verdict.USED
    return Verdict.WRONG
