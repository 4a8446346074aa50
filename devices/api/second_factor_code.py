"""The code of a second factor, where there is no page to ask for it."""

from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.utils import is_mfa_enabled
from django.contrib.auth.models import User


def has_second_factor(user: User) -> bool:
    """True if the person's password alone does not sign them in."""
    return is_mfa_enabled(user)


def is_right_code(user: User, code: str) -> bool:
    """True for a code of the authenticator app, or a recovery code, that was not used before.

    Wrong ones are counted by allauth, which after too many takes none for a while.
    """
    return bool(code) and AuthenticateForm(user=user, data={"code": code}).is_valid()
