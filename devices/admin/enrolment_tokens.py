"""The admin for enrolment tokens."""

import json
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from devices.admin.base import Question, ScopedAdmin
from devices.admin.choices import choice_of
from devices.admin.keys import COPIES, FoundAsShown
from devices.admin.sites import ChoosesPlace
from devices.fleet.addresses import device_url
from devices.fleet.enrolment import token_issue, token_state, tokens_revoke
from devices.fleet.qr import qr_svg
from devices.models import (
    EnrolmentToken,
)

TOKEN_LIFE = timedelta(days=7)


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_expires_at(self) -> datetime:
        expires_at: datetime = self.cleaned_data["expires_at"]
        if expires_at <= timezone.now():
            raise forms.ValidationError("This time has passed; choose a later one.")
        return expires_at


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(FoundAsShown, ChoosesPlace, ScopedAdmin):
    """Tokens are issued here, where each one is shown once, and revoked here."""

    form = TokenForm
    list_display = ("token", "label", "tenant", "site", "uses", "expires_at", "state")
    list_display_links = ("token",)
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("site", AutocompleteSelectFilter),
        ("group", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_select_related = ("tenant", "site", "group")
    list_fullwidth = True
    search_fields = (
        "prefix",
        "label",
        "site__search_text__finds",
        "group__search_text__finds",
    )
    search_help_text = "Token, label, site or group"
    show_full_result_count = False
    fields = (("tenant", "site", "group"), "label", ("max_uses", "expires_at"))
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    empty_help = "No enrolment tokens yet. With a token, devices add themselves and get their keys."

    class Media:
        js = (COPIES,)

    @display(description="token", ordering="prefix")
    def token(self, token: EnrolmentToken) -> SafeString:
        return format_html("<code>{}</code>", token)

    @display(description="devices", ordering="uses_left")
    def uses(self, token: EnrolmentToken) -> str:
        return f"{token.max_uses - token.uses_left} of {token.max_uses}"

    @display(description="state")
    def state(self, token: EnrolmentToken) -> SafeString:
        ended = token_state(token, ts=timezone.now())
        look = "key" if ended else "key key--in-force"
        return format_html('<span class="{}">{}</span>', look, ended or "in force")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if obj is None:
            return self.fields
        return (("token", "state"), ("tenant", "site", "group"), "label", ("uses", "expires_at"))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Only a token's label can be changed."""
        fixed = ["token", "state", "tenant", "site", "group", "uses", "expires_at"]
        return fixed if obj else []

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Ignores an expiry in the URL, because Django's widget does not accept a string."""
        initial = super().get_changeform_initial_data(request)
        return {**initial, "expires_at": timezone.now().replace(microsecond=0) + TOKEN_LIFE}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tokens are revoked rather than deleted, so that a record of them remains."""
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        if object_id is None:
            return self.has_change_permission(request)
        token = self.get_object(request, object_id)
        in_force = token is not None and token.revoked_at is None
        return in_force and self.has_change_permission(request, token)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Excludes the hash, so that tokens cannot be found by guessing it."""
        hidden = lookup.startswith("secret_sha256")
        return not hidden and super().lookup_allowed(lookup, value, request)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        allowed = self.has_revoke_permission(request, object_id)
        return self._get_base_actions_detail() if allowed else []

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Only "Save" is offered, because the token is always shown on the next page."""
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})

    def save_model(
        self, request: HttpRequest, obj: EnrolmentToken, form: Any, change: bool
    ) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            request.issued_token = token_issue(token=obj)  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: EnrolmentToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The page that shows the token, which is never shown again."""
        token: str = request.issued_token  # type: ignore[attr-defined]
        enrol_url = device_url(request, "enrol")
        code_text = json.dumps({"url": enrol_url, "token": token})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"New enrolment token for {obj.tenant}",
            "original": obj,
            "lead": _token_lead(obj),
            "token": token,
            "enrol_url": enrol_url,
            "code_text": code_text,
            "qr": qr_svg(code_text, title="Enrolment code"),
            "back": reverse("admin:devices_enrolmenttoken_changelist"),
            "media": self.media,
        }
        template = "admin/devices/enrolmenttoken/token_issued.html"
        return TemplateResponse(request, template, context)

    @action(description="Revoke…", permissions=["revoke"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[EnrolmentToken]
    ) -> HttpResponse | None:
        chosen = choice_of(request, queryset.filter(revoked_at=None))
        if chosen is None:
            return None
        if not chosen.is_confirmed:
            lead = (
                "No more devices can enrol with them. Devices that already enrolled keep their "
                "keys. This cannot be undone."
            )
            return self.ask(request, chosen.question("Revoke", lead=lead, is_danger=True))
        count = tokens_revoke(ids=chosen.ids, ts=timezone.now())
        messages.success(request, f"{chosen.words(count)} revoked.")
        return None

    @action(
        description="Revoke",
        permissions=["revoke"],
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        token = get_object_or_404(self.get_queryset(request), pk=object_id)
        back = reverse("admin:devices_enrolmenttoken_changelist")
        if request.method == "POST":
            tokens_revoke(ids=[token.pk], ts=timezone.now())
            self.log_change(request, token, "Revoked.")
            messages.success(request, f"Enrolment token {token} revoked.")
            return HttpResponseRedirect(back)
        question = Question(
            title=f"Revoke enrolment token {token}",
            lead="No more devices can enrol with it. Devices that already enrolled keep their "
            "keys. This cannot be undone.",
            submit="Revoke",
            back=back,
            about=token,
            is_danger=True,
        )
        return self.ask(request, question)


def _token_lead(token: EnrolmentToken) -> str:
    devices = "one device" if token.max_uses == 1 else f"up to {token.max_uses} devices"
    return f"It can be used for {devices}, until {localize(token.expires_at)}."
