"""Who asks the API with a token (JWT): a person, read together with what they may do."""

from typing import Any

from django.contrib.auth.models import User
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from devices.tenancy import person_read


class PersonAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>`."""

    def get_user(self, validated_token: Token) -> Any:
        """Raises AuthenticationFailed unless its person may still sign in as when it came."""
        return person_of(validated_token)


def person_of(token: Token) -> User:
    """Whose token it is. Raises AuthenticationFailed for somebody who is not active any more, or
    has another password than the one that got the token."""
    user_id: Any = token.get("user_id")
    user = person_read(user_id) if str(user_id).isdecimal() else None
    if user is None or not user.is_active or token.get("hash_password") != _proof(user):
        raise AuthenticationFailed("This token is of somebody who has to sign in again.")
    return user


def _proof(user: User) -> str:
    return get_md5_hash_password(user.password)
