"""`/api/v1/auth/token`: lets a person sign in and get tokens (JWT) for programs."""

from threading import BoundedSemaphore

from django.contrib.auth import authenticate, user_logged_in
from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import RefreshToken

from devices.api.auth.person import person_of, token_read
from devices.api.auth.second_factor import Verdict, code_judge, has_second_factor
from devices.api.base.bodies import StrictBody
from devices.api.base.throttles import SignInThrottle
from devices.api.base.viewset import secret_once
from devices.people.second_factor import WORDS, lacks_second_factor, too_many_codes
from devices.people.second_factor_codes import USED_WORDS, codes_wait_s

CHALLENGE = 'Bearer realm="rollcall"'
CODE_REFUSALS = {
    Verdict.MISSING: "Send the code of your second factor as `code`.",
    Verdict.WRONG: (
        "Wrong code for your second factor; "
        "send the one that your app shows now, or an unused recovery code."
    ),
    Verdict.USED: USED_WORDS,
}
# Checking a password is slow and occupies a database connection. A process checks at most this many
# at once; the others wait without holding a connection.
_turns = BoundedSemaphore(4)


class LockedOut(APIException):
    """Too many wrong passwords. The axes middleware replaces the response and says how long to
    wait."""

    status_code = 429


class TooManyCodes(APIException):
    """Too many wrong second-factor codes: the person's codes are not checked for a while."""

    status_code = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(too_many_codes(wait_s))
        self.wait = wait_s  # for Retry-After, in seconds


class SignIn(StrictBody, serializers.Serializer[User]):
    username = serializers.CharField(max_length=254, trim_whitespace=False)
    password = serializers.CharField(
        max_length=4096, trim_whitespace=False, style={"input_type": "password"}
    )
    code = serializers.CharField(
        max_length=32,
        required=False,
        help_text="The code from the authenticator app, or a recovery code. Required if a second "
        "factor is set up.",
    )


class Tokens(serializers.Serializer[User]):
    access = serializers.CharField(help_text="Send it as `Authorization: Bearer <access>`.")
    refresh = serializers.CharField(
        help_text="Used to get a new access token when the old one has expired."
    )


class Refresh(StrictBody, serializers.Serializer[User]):
    refresh = serializers.CharField(max_length=4096, trim_whitespace=False)


class NewAccess(serializers.Serializer[User]):
    access = serializers.CharField()


class SignInView(APIView):
    """For endpoints that people use before they are signed in."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (SignInThrottle,)
    problems = (401, 403)

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class TokenView(SignInView):
    @extend_schema(
        operation_id="auth_token_create", tags=["auth"], request=SignIn, responses=Tokens
    )
    def post(self, request: Request) -> Response:
        """Issues tokens for a password and, if the person has a second factor, a code for it."""
        serializer = SignIn(data=request.data)
        serializer.is_valid(raise_exception=True)
        with _turns:
            user = _person(request, **serializer.validated_data)
        refresh = RefreshToken.for_user(user)
        return secret_once(Response({"access": str(refresh.access_token), "refresh": str(refresh)}))


class TokenRefreshView(SignInView):
    @extend_schema(
        operation_id="auth_token_refresh", tags=["auth"], request=Refresh, responses=NewAccess
    )
    def post(self, request: Request) -> Response:
        """Issues a new access token, as long as the person is active and has not changed their
        password."""
        serializer = Refresh(data=request.data)
        serializer.is_valid(raise_exception=True)
        refresh = token_read(RefreshToken, serializer.validated_data["refresh"])
        _second_factor_require(person_of(refresh))
        return secret_once(Response({"access": str(refresh.access_token)}))


def _person(request: Request, *, username: str, password: str, code: str = "") -> User:
    """Returns the person who signs in. Raises AuthenticationFailed; PermissionDenied if they must
    set up a second factor first; LockedOut or TooManyCodes after too many attempts."""
    user = authenticate(request._request, username=username, password=password)
    if getattr(request._request, "axes_locked_out", False):
        raise LockedOut
    if not isinstance(user, User) or not user.is_active:
        raise AuthenticationFailed("User name or password is wrong.")
    if has_second_factor(user):
        _second_factor_check(user, code)
    _second_factor_require(user)
    # Resets the person's count of wrong passwords.
    user_logged_in.send(sender=User, request=request._request, user=user)
    return user


def _second_factor_check(user: User, code: str) -> None:
    verdict = code_judge(user, code)
    if verdict is Verdict.TOO_MANY:
        raise TooManyCodes(codes_wait_s(user))
    if verdict is not Verdict.RIGHT:
        raise AuthenticationFailed(CODE_REFUSALS[verdict])


def _second_factor_require(user: User) -> None:
    """Raises PermissionDenied if the person must set up a second factor first."""
    if lacks_second_factor(user):
        raise PermissionDenied(WORDS)
