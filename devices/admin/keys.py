"""The admin for keys, which are issued on the page of their device or tenant."""

import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RadioFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from devices.admin.base import Question, ScopedAdmin, ScopedInline
from devices.admin.choices import choice_of
from devices.fleet.addresses import device_url
from devices.fleet.keys import (
    MAX_OVERLAP_S,
    IssuedKey,
    NotInForce,
    credential_rotate,
    credentials_revoke,
    in_force,
)
from devices.models import (
    Credential,
    Registration,
)
from devices.tenancy.access import access_in, tenant_id_of

AS_SHOWN = re.compile(r"r[ct]_([A-Za-z0-9]+)(?:_…?)?")
# What happens to messages that a gateway sends for devices that have not been added.
UNKNOWN_DEVICES = {
    Registration.OFF: "Messages from devices that have not been added are refused.",
    Registration.PENDING: "New devices wait for approval in the list of devices.",
    Registration.ON: "New devices are added automatically.",
}
# Adds a copy button to pages that show a secret once.
COPIES = Script("monitoring/live.js", type="module")


class FoundAsShown:
    """For admin classes for secrets: lets people search for `rc_abc_…`, as shown in lists, by
    searching for its prefix."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        shown = AS_SHOWN.fullmatch(search_term.strip())
        term = shown[1] if shown else search_term
        found: tuple[QuerySet[Any], bool] = super().get_search_results(request, queryset, term)  # type: ignore[misc]
        return found


class KeyForm(forms.Form):
    label = forms.CharField(
        max_length=120,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="What the key is for, so that you know later which one to revoke. Optional.",
    )


class RotateForm(KeyForm):
    overlap_s = forms.TypedChoiceField(
        label="Old key",
        coerce=int,
        choices=[
            (0, "is revoked at once"),
            (3600, "stays in force for an hour"),
            (86_400, "stays in force for a day"),
            (7 * 86_400, "stays in force for a week"),
            (MAX_OVERLAP_S, "stays in force for 30 days"),
        ],
        initial=86_400,
        widget=UnfoldAdminSelectWidget,
        help_text="Long enough to put the new key on the device.",
    )


def key_shown(
    shown_by: ScopedAdmin,
    request: HttpRequest,
    issued: IssuedKey,
    replaced: Credential | None = None,
) -> HttpResponse:
    """The page that shows a new key once, with how to try it and what happens to the old key."""
    credential = issued.credential
    speaker = credential.device or credential.tenant
    context = {
        **shown_by.admin_site.each_context(request),
        "opts": speaker._meta,
        "original": speaker,
        "key": issued.key,
        "about_replaced": _about_replaced(replaced) if replaced else "",
        "back": _speaker_url(credential),
        "media": shown_by.media,
    }
    if credential.device:
        context["title"] = f"New key for {speaker}"
        return TemplateResponse(request, "admin/devices/device/key_issued.html", context)
    context["title"] = f"New gateway key for {speaker}"
    context["readings_url"] = device_url(request, "readings")
    context["about_unknown"] = UNKNOWN_DEVICES[Registration(credential.tenant.registration)]
    context["keys"] = reverse("admin:devices_credential_changelist")
    return TemplateResponse(request, "admin/devices/tenant/gateway_key_issued.html", context)


@display(description="state")
def key_state(credential: Credential) -> SafeString:
    """Whether the key is in force, and since when or until when."""
    when = localize(credential.revoked_at) if credential.revoked_at else ""
    if credential.is_in_force(ts=timezone.now()):
        until = f" until {when}" if when else ""
        return format_html('<span class="key key--in-force">in force{}</span>', until)
    return format_html('<span class="key">revoked {}</span>', when)


@display(description="key")
def key_prefix(credential: Credential) -> SafeString:
    return format_html("<code>{}</code>", credential)


@display(description="device", ordering="device__device_id")
def key_speaker(credential: Credential) -> str:
    """The device that the key belongs to, or "gateway"."""
    return credential.device.device_id if credential.device else "gateway"


class CredentialInline(ScopedInline):
    """A device's keys on the device's page, where new keys are issued; each is shown once."""

    model = Credential
    template = "admin/devices/credential/keys_of_device.html"
    fields = ("key", "label", "created_at", "state", "replace")
    readonly_fields = fields
    verbose_name_plural = "keys"
    can_delete = False
    ordering = ("-created_at",)

    key = staticmethod(key_prefix)
    state = staticmethod(key_state)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leaves out the links to rotate and revoke a key if the person is not allowed to use
        them."""
        may_revoke = access_in(request).allows(self.least_role, tenant_id_of(obj))
        return self.fields if may_revoke else self.fields[:-1]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="", empty_value="")
    def replace(self, credential: Credential) -> str:
        """Links to rotate and to revoke the key, if that is still possible."""
        links = [
            (reverse(f"admin:devices_credential_{way}", args=(credential.pk,)), way.capitalize())
            for way in _ways(credential)
        ]
        return format_html_join(" ", '<a class="rc-link" href="{}">{}…</a>', links)


class GatewayFilter(RadioFilter):
    title = "belongs to"
    parameter_name = "of"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("devices", "devices"), ("gateways", "gateways")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(device__isnull=self.value() == "gateways")


@admin.register(Credential)
class CredentialAdmin(FoundAsShown, ScopedAdmin):
    """Keys can be found, rotated and revoked here; they are issued on the page of their device or
    tenant."""

    list_display = ("key", "speaker", "tenant", "label", "created_at", "state")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("revoked_at", admin.EmptyFieldListFilter),
        GatewayFilter,
    )
    list_filter_submit = True
    list_select_related = ("device", "tenant")
    list_fullwidth = True
    search_fields = ("prefix", "label", "device__search_text__finds")
    search_help_text = "Key, label or device"
    show_full_result_count = False
    fields = (("key", "state"), "speaker", "tenant", "label", "created_at")
    readonly_fields = ("key", "state", "speaker", "created_at")
    actions = ("revoke_selected",)
    actions_detail = ("rotate", "revoke")
    empty_help = (
        "No keys yet. Keys are issued on the page of a device, or of a tenant for gateways."
    )

    key = staticmethod(key_prefix)
    speaker = staticmethod(key_speaker)
    state = staticmethod(key_state)

    class Media:
        js = (COPIES,)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keys are revoked rather than deleted, so that a record of them remains."""
        return False

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        """The actions that the person may take and that are still possible."""
        credential = self.get_object(request, object_id)
        if credential is None or not self.has_change_permission(request, credential):
            return []
        ways = _ways(credential)
        base = self._get_base_actions_detail()
        return [one for one in base if one.action_name.rpartition("_")[2] in ways]

    def has_end_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Does not check whether the key was already revoked: the action itself says so."""
        if object_id is None:
            return self.has_change_permission(request)
        credential = self.get_object(request, object_id)
        return credential is not None and self.has_change_permission(request, credential)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Excludes the hash, so that keys cannot be found by guessing it."""
        hidden = lookup.startswith(("secret_sha256", "mqtt_password_hash"))
        return not hidden and super().lookup_allowed(lookup, value, request)

    @action(description="Revoke…", permissions=["end"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[Credential]
    ) -> HttpResponse | None:
        chosen = choice_of(request, queryset.filter(in_force(timezone.now())))
        if chosen is None:
            return None
        if not chosen.is_confirmed:
            lead = (
                "Within seconds, nobody can post with these keys. This cannot be undone. To get "
                "new keys first, rotate them instead."
            )
            return self.ask(request, chosen.question("Revoke", lead=lead, is_danger=True))
        count = credentials_revoke(ids=chosen.ids, ts=timezone.now())
        messages.success(request, f"{chosen.words(count)} revoked.")
        return None

    @action(description="Rotate", permissions=["end"], icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = get_object_or_404(self.get_queryset(request), pk=object_id)
        if "rotate" not in _ways(credential):
            return _ended(request, credential, str(NotInForce(credential)))
        form = RotateForm(
            request.POST if request.method == "POST" else None, initial={"label": credential.label}
        )
        if form.is_valid():
            try:
                issued = credential_rotate(
                    credential=credential, ts=timezone.now(), **form.cleaned_data
                )
            except NotInForce as error:
                return _ended(request, credential, str(error))
            credential.refresh_from_db(fields=["revoked_at"])
            return key_shown(self, request, issued, replaced=credential)
        speaker = credential.device or f"gateways of {credential.tenant}"
        question = Question(
            title=f"Rotate key {credential}",
            lead=f"This issues a new key for {speaker}. Choose when the old key is revoked.",
            submit="Rotate",
            back=_speaker_url(credential),
            about=credential,
            form=form,
        )
        return self.ask(request, question)

    @action(
        description="Revoke",
        permissions=["end"],
        icon="key_off",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = get_object_or_404(self.get_queryset(request), pk=object_id)
        if "revoke" not in _ways(credential):
            return _ended(request, credential, f"The key {credential} has already been revoked.")
        back = _speaker_url(credential)
        if request.method == "POST":
            credentials_revoke(ids=[credential.pk], ts=timezone.now())
            messages.success(request, f"Key {credential} revoked.")
            return HttpResponseRedirect(back)
        speaker = credential.device or f"every gateway of {credential.tenant} that has it"
        question = Question(
            title=f"Revoke key {credential}",
            lead=f"Within seconds, {speaker} can no longer post with this key. This cannot be "
            "undone. To get a new key first, rotate this one instead.",
            submit="Revoke",
            back=back,
            about=credential,
            is_danger=True,
        )
        return self.ask(request, question)


def _ways(credential: Credential) -> list[str]:
    """The actions that are still possible: a rotated key can only be revoked earlier."""
    if credential.revoked_at is None:
        return ["rotate", "revoke"]
    return ["revoke"] if credential.is_in_force(ts=timezone.now()) else []


def _ended(request: HttpRequest, credential: Credential, words: str) -> HttpResponse:
    messages.error(request, words)
    return HttpResponseRedirect(_speaker_url(credential))


def _about_replaced(credential: Credential) -> str:
    """What happens to a key that was rotated."""
    lasts = credential.is_in_force(ts=timezone.now())
    until = f"in force until {localize(credential.revoked_at)}" if lasts else "revoked"
    return f"It replaces {credential}, which is {until}."


def _speaker_url(credential: Credential) -> str:
    """The page on which the key was issued."""
    if credential.device_id is None:
        return reverse("admin:devices_tenant_change", args=(credential.tenant_id,))
    return reverse("admin:devices_device_change", args=(credential.device_id,))
