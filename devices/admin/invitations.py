"""The admin for invitations."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from devices.admin.base import Question, ScopedAdmin
from devices.admin.choices import choice_of
from devices.models import Invitation, Membership
from devices.people.invitations import (
    InvitationRefused,
    invitation_issue,
    invitation_letter,
    invitation_renew,
    invitation_state,
    invitations_revoke,
    with_stands,
)
from devices.tenancy.access import Role, access_in


class InvitationForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        return email

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        tenant, email = self.cleaned_data.get("tenant"), self.cleaned_data.get("email")
        held = Membership.objects.filter(tenant=tenant, user__email__iexact=email)
        if tenant and email and held.exists():
            raise forms.ValidationError({"email": "This person is already a member."})
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """Also checks whether the address is already invited, which depends on fields that are not
        in the form."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"accepted_at", "revoked_at"}


@admin.register(Invitation)
class InvitationAdmin(ScopedAdmin):
    """Where owners invite people by e-mail, send the link again, or revoke it."""

    form = InvitationForm
    least_role = Role.OWNER
    list_display = ("email", "tenant", "role", "invited_by_name", "expires_at", "state")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_filter_submit = True
    list_select_related = ("tenant", "invited_by")
    list_fullwidth = True
    search_fields = ("email",)
    search_help_text = "E-mail address"
    show_full_result_count = False
    actions = ("revoke_selected",)
    actions_detail = ("send_again", "revoke")
    empty_help = "No invitations yet. Add one to send its link by e-mail."

    @display(description="invited by")
    def invited_by_name(self, invitation: Invitation) -> str:
        """An inviter who is an operator is not named: operators are not members, so members cannot
        see their names."""
        return invitation.invited_by.get_username() if invitation.invited_by else "an operator"

    @display(description="state")
    def state(self, invitation: Invitation) -> SafeString:
        ended = invitation_state(invitation, ts=timezone.now())
        look = "key" if ended else "key key--in-force"
        return format_html('<span class="{}">{}</span>', look, ended or "waiting")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invitation]:
        own = access_in(request).narrow(super().get_queryset(request), self.least_role)
        return with_stands(own)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if obj is None:
            return ("tenant", "email", "role")
        return (
            ("email", "state"),
            ("tenant", "role"),
            ("invited_by_name", "created_at"),
            ("expires_at", "accepted_at", "revoked_at"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        if obj is None:
            return []
        return [name for line in self.get_fields(request, obj) for name in line]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access_in(request).allows(self.least_role)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Invitations are revoked rather than deleted, so that a record of them remains."""
        return False

    def has_answer_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """True if the invitation is still open and the person may send it again or revoke it."""
        if object_id is None:
            return self.has_change_permission(request)
        invitation = self.get_object(request, object_id)
        if invitation is None or invitation.accepted_at or invitation.revoked_at:
            return False
        return self.has_change_permission(request, invitation)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        allowed = self.has_answer_permission(request, object_id)
        return self._get_base_actions_detail() if allowed else []

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Excludes the hash, so that invitations cannot be found by guessing it."""
        hidden = lookup.startswith("token_sha256")
        return not hidden and super().lookup_allowed(lookup, value, request)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Shows no save buttons for an existing invitation, which can only be sent again or
        revoked."""
        is_new = object_id is None
        shown = {"show_save": is_new, "show_save_and_add_another": is_new}
        shown |= {"show_save_and_continue": False}
        context = {**(extra_context or {}), **shown}
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        if change:
            return
        obj.invited_by_id = request.user.pk
        self._send_on_commit(request, obj, invitation_issue(invitation=obj, ts=timezone.now()))

    def response_add(
        self, request: HttpRequest, obj: Invitation, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Shows no message yet: one follows when the link has been sent or could not be sent."""
        return HttpResponseRedirect(request.path if "_addanother" in request.POST else _list_url())

    @action(description="Revoke…", permissions=["answer"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[Invitation]
    ) -> HttpResponse | None:
        chosen = choice_of(
            request, queryset.filter(accepted_at=None, revoked_at=None), least_role=self.least_role
        )
        if chosen is None:
            return None
        if not chosen.is_confirmed:
            lead = "The links that were sent stop working."
            return self.ask(request, chosen.question("Revoke", lead=lead, is_danger=True))
        count = invitations_revoke(ids=chosen.ids, ts=timezone.now())
        messages.success(request, f"{chosen.words(count)} revoked.")
        return None

    @action(description="Send again", permissions=["answer"], icon="send", url_path="send-again")
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        invitation = get_object_or_404(self.get_queryset(request), pk=object_id)
        if request.method == "POST":
            try:
                token = invitation_renew(
                    invitation=invitation, by_id=request.user.pk, ts=timezone.now()
                )
            except InvitationRefused as error:
                messages.error(request, str(error))
            else:
                self.log_change(request, invitation, "Sent again.")
                self._send_on_commit(request, invitation, token)
            return HttpResponseRedirect(_list_url())
        question = Question(
            title=f"Send the invitation to {invitation.email} again",
            lead="This sends a new link, which works for a week. The old link stops working.",
            submit="Send",
            back=_list_url(),
            about=invitation,
        )
        return self.ask(request, question)

    @action(
        description="Revoke",
        permissions=["answer"],
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        invitation = get_object_or_404(self.get_queryset(request), pk=object_id)
        if request.method == "POST":
            invitations_revoke(ids=[invitation.pk], ts=timezone.now())
            self.log_change(request, invitation, "Revoked.")
            messages.success(request, f"Invitation to {invitation.email} revoked.")
            return HttpResponseRedirect(_list_url())
        question = Question(
            title=f"Revoke the invitation to {invitation.email}",
            lead="The link that was sent stops working.",
            submit="Revoke",
            back=_list_url(),
            about=invitation,
            is_danger=True,
        )
        return self.ask(request, question)

    def _send_on_commit(self, request: HttpRequest, invitation: Invitation, token: str) -> None:
        """Sends the e-mail after the commit, when the link works, so that a slow mail server does
        not hold up the transaction."""
        url = request.build_absolute_uri(reverse("invitation", args=(token,)))
        letter = invitation_letter(invitation=invitation, url=url)
        transaction.on_commit(partial(_send, request, letter))


def _send(request: HttpRequest, letter: EmailMessage) -> None:
    address = letter.to[0]
    try:
        letter.send()
    except OSError as error:  # includes all SMTP errors
        messages.error(
            request,
            f"The invitation was saved, but the e-mail to {address} could not be sent: {error}. "
            "Send it again once e-mail works.",
        )
    else:
        messages.success(request, f"The link was sent to {address}.")


def _list_url() -> str:
    return reverse("admin:devices_invitation_changelist")
