"""How people sign in: with allauth's methods, on a single sign-in page, without open sign-up."""

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import LoginForm as AllauthLoginForm
from allauth.account.internal.userkit import filter_users_by_email
from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.openid_connect.views import login as openid_connect_login
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils import timezone
from django.views.decorators.cache import never_cache
from requests import RequestException

from devices.http.origin import client_address
from devices.people.invitations import invitations_accept_by_email, invitations_open_for
from devices.people.second_factor import too_many_codes

log = logging.getLogger(__name__)
# The id, as used in URLs, of the only provider that the settings can configure.
PROVIDER = "oidc"
WRONG_PASSWORD = "User name or password is wrong."


class LoginForm(AllauthLoginForm):
    """Allauth's form with our labels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        login = self.fields["login"]
        login.label = "User name or e-mail"
        login.widget.attrs.update(autocomplete="username", autofocus=True)
        login.widget.attrs.pop("placeholder", None)
        self.fields["remember"].label = "Stay signed in"


class AccountAdapter(DefaultAccountAdapter):
    """There is no sign-up: people are invited, or added by an operator."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": WRONG_PASSWORD,
        "email_password_mismatch": WRONG_PASSWORD,
        "too_many_login_attempts": too_many_codes(settings.SIGN_IN_COOL_OFF_MIN * 60),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        address = client_address(request)
        if address is None:
            raise PermissionDenied("The request has no valid client address.")
        return address

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Leaves the counting of failed attempts to axes, which counts by person and address: if
        they were counted by person alone, anybody could lock out anybody else. Wrong second-factor
        codes are still counted by person."""

    def reauthenticate(self, user: User, password: str) -> bool:
        """Keeps the session alive when a correct password is rehashed, which Django does when its
        hashers have become stronger. Otherwise the session would end, because it depends on the
        hash it was opened with."""
        known = user.password
        is_right: bool = super().reauthenticate(user, password)
        user.refresh_from_db(fields=["password"])
        if is_right and user.password != known:
            update_session_auth_hash(self.request, user)
        return is_right


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """Lets people sign in with OpenID Connect if they have an account or an open invitation.

    An address counts only if the provider has verified it. To match an account, the account's
    address must have been verified here too.
    """

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: Any) -> User:
        """Some providers send "true" or "false" as text, and the text "false" is truthy."""
        for address in sociallogin.email_addresses:
            address.verified = str(address.verified).lower() == "true"
        user: User = super().populate_user(request, sociallogin, data)
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: str | None = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Logs the reason for operators; the page only says that signing in failed."""
        reason = exception or request.GET.get("error_description") or request.GET.get("error")
        log.warning("single sign-on failed: %.500r", reason or error)

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[Any, str] | None:
        found = super().authenticate_by_email(sociallogin)
        if found is None:
            return None
        user, email = found
        own = EmailAddress.objects.filter(user_id=user.pk, email=email.lower(), verified=True)
        return found if own.exists() else None

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        now = timezone.now()
        return any(invitations_open_for(email, ts=now) for email in _verified(sociallogin))

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        sociallogin.user.is_staff = True
        user: User = super().save_user(request, sociallogin, form)
        for email in _verified(sociallogin):
            invitations_accept_by_email(email=email, user=user, ts=timezone.now())
        return user


def attempted_username(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """For AXES_USERNAME_CALLABLE: the account's user name in lower case, even if its e-mail address
    was entered, so that there is one count per account; None if nothing was entered."""
    given = credentials or {}
    login = given.get("username") or given.get("email") or request.POST.get("login")
    if not login:
        return None
    users = filter_users_by_email(login, prefer_verified=True) if "@" in login else []
    return str(users[0].get_username() if users else login).lower()[:255]


@never_cache
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """Replaces the admin's own sign-in form: redirects to the page where everybody signs in.

    Raises PermissionDenied if the person is signed in but may not open the admin.
    """
    if not request.user.is_authenticated:
        following = request.GET.get("next") or resolve_url(settings.LOGIN_REDIRECT_URL)
        return redirect_to_login(following)
    if not admin.site.has_permission(request):
        raise PermissionDenied("Your account has no access to this portal; ask an operator.")
    return redirect(settings.LOGIN_REDIRECT_URL)


def single_sign_on(request: HttpRequest) -> HttpResponse:
    """Allauth's redirect to the provider, or an error page if the provider does not respond."""
    try:
        answer: HttpResponse = openid_connect_login(request, PROVIDER)
    except RequestException as error:
        provider = get_adapter().get_provider(request, PROVIDER)
        answer = render_authentication_error(request, provider, exception=error)
    return answer


def _verified(sociallogin: SocialLogin) -> list[str]:
    return [one.email for one in sociallogin.email_addresses if one.verified]
