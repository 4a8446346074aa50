"""The page that an invitation's link opens."""

from typing import Any, cast

from allauth.account.utils import perform_login
from django import forms
from django.contrib import messages
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from devices.models import Invitation
from devices.people.invitations import (
    AccountExists,
    InvitationRefused,
    UsernameTaken,
    account_exists,
    invitation_accept,
    invitation_find,
    invited_account_create,
)


class AccountForm(UserCreationForm):  # type: ignore[type-arg]
    """Asks for a user name and a password; the e-mail address is already known."""

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # So that a password similar to it is rejected.
        self.instance.email = email
        self.fields["username"].label = "User name"
        self.fields["username"].widget.attrs["autofocus"] = True

    def validate_password_for_user(self, user: User, field: str = "password1") -> None:
        """Shows password errors on the first password field rather than on the confirmation
        field."""
        super().validate_password_for_user(user, field)  # type: ignore[misc]


@sensitive_post_parameters("password1", "password2")
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Lets the visitor accept the invitation, with the account they are signed in to or with a new
    one. If the invitation does not work, returns 410 with the reason."""
    try:
        found = invitation_find(token=token, ts=timezone.now())
        if request.user.is_authenticated:
            return _as_member(request, token, found)
        if account_exists(email=found.email):
            return _sign_in_first(request, found)
        return _as_newcomer(request, token, found)
    except InvitationRefused as error:
        return render(request, "account/invitation_refused.html", {"why": str(error)}, status=410)


def _as_member(request: HttpRequest, token: str, found: Invitation) -> HttpResponse:
    if request.method != "POST":
        return render(request, "account/invitation.html", {"invitation": found})
    user = cast(User, request.user)
    membership = invitation_accept(token=token, user=user, ts=timezone.now())
    messages.success(request, f"You are now a member of {found.tenant}, as {membership.role}.")
    return redirect("admin:index")


def _sign_in_first(request: HttpRequest, found: Invitation) -> HttpResponse:
    messages.info(request, f"{found.email} has an account: sign in to join {found.tenant}.")
    return redirect_to_login(request.path, reverse("account_login"))


def _as_newcomer(request: HttpRequest, token: str, found: Invitation) -> HttpResponse:
    form = AccountForm(request.POST if request.method == "POST" else None, email=found.email)
    if form.is_valid():
        try:
            user = invited_account_create(
                token=token, user=form.save(commit=False), ts=timezone.now()
            )
        except AccountExists:
            return _sign_in_first(request, found)
        except UsernameTaken as error:
            form.add_error("username", forms.ValidationError(str(error)))
        else:
            return perform_login(request, user)
    return render(request, "account/invitation.html", {"invitation": found, "form": form})
