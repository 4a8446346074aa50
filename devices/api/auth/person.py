"""Finds the person that an access token (JWT) belongs to, together with what they may do."""

from functools import lru_cache
from typing import Any, TypeVar

from django.contrib.auth.models import User
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import (
    AuthenticationFailed,
    ExpiredTokenError,
    InvalidToken,
    TokenError,
)
from rest_framework_simplejwt.tokens import AccessToken, Token
from rest_framework_simplejwt.utils import aware_utcnow, get_md5_hash_password

from devices.tenancy.access import person_read

SomeToken = TypeVar("SomeToken", bound=Token)
MAX_ID = 2**31 - 1
EXPIRED = "This token has expired: get another at /api/v1/auth/token/refresh, or sign in again."


class PersonAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>`."""

    def get_validated_token(self, raw_token: bytes) -> AccessToken:
        """Raises InvalidToken unless it is a valid access token that was issued here."""
        token = _signed(raw_token)
        try:
            token.check_exp(current_time=aware_utcnow())
        except TokenError:
            raise InvalidToken(EXPIRED) from None
        return token

    def get_user(self, validated_token: Token) -> Any:
        """Raises AuthenticationFailed if the person is inactive or has changed their password."""
        return person_of(validated_token)


def token_read(kind: type[SomeToken], raw: Any) -> SomeToken:
    """The token, if it was issued here and is valid. Raises InvalidToken for any other token, even
    if the error is only that its claims have unexpected types or sizes."""
    try:
        return kind(raw)
    except ExpiredTokenError:
        raise InvalidToken(EXPIRED) from None
    except TokenError as error:
        raise InvalidToken(error.args[0]) from None
    except (OverflowError, TypeError, ValueError):  # its claims are not times
        raise InvalidToken("Token is invalid") from None


@lru_cache(maxsize=1024)
def _signed(raw: bytes) -> AccessToken:
    """An access token that was issued here. The result is cached, because a token's content does
    not change; whether it has expired must be checked every time."""
    return token_read(AccessToken, raw)


def person_of(token: Token) -> User:
    """The person that the token belongs to. Raises AuthenticationFailed if they are inactive or
    have changed their password since the token was issued."""
    user_id = _id(token.get("user_id"))
    user = None if user_id is None else person_read(user_id)
    claimed = token.get("hash_password")
    if user is None or not user.is_active or claimed != get_md5_hash_password(user.password):
        raise AuthenticationFailed("This token is no longer valid; sign in again.")
    return user


def _id(claim: Any) -> int | None:
    """The person's id as claimed by the token; None if it cannot be an id."""
    text = str(claim)
    # Longer numbers are out of range, and slow to parse.
    is_number = text.isascii() and text.isdecimal() and len(text) <= 10
    return int(text) if is_number and int(text) <= MAX_ID else None
