"""The admin of people, tenants, sites, keys and enrolment tokens.

Devices stand in monitoring, with their status.
"""

import json
import re
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, ForeignKey, Model, OuterRef, QuerySet, Subquery
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter, RadioFilter
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from devices.addresses import device_url
from devices.audit_admin import HistoryEntryAdmin, OperatorAccessAdmin
from devices.credentials import credentials_revoke, gateway_credential_issue
from devices.enrolment import token_issue, token_state, tokens_revoke
from devices.members import LastOwner, owner_ensure_other
from devices.models import (
    Credential,
    Device,
    DeviceGroup,
    EnrolmentToken,
    Membership,
    Registration,
    Site,
    Tenant,
)
from devices.people_admin import EmailAddressInline, SecondFactorInline
from devices.qr import qr_svg
from devices.scoped_admin import (
    KeepsTenant,
    OperatorOnly,
    Question,
    ScopedAdmin,
    ScopedInline,
    access_in,
    sees_several_tenants,
)
from devices.tenancy import Role

# What becomes of what a gateway says of devices that nobody has added.
UNKNOWN_DEVICES = {
    Registration.OFF: "Messages of devices that nobody has added are refused.",
    Registration.PENDING: "Devices that nobody has added wait for approval in the list of devices.",
    Registration.ON: "Devices that nobody has added add themselves.",
}
TOKEN_LIFE = timedelta(days=7)
AS_SHOWN = re.compile(r"r[ct]_([A-Za-z0-9]+)(?:_…?)?")
# What a device and an enrolment token may belong to besides their tenant.
PLACES = ("site", "group")
COPIES = Script("monitoring/live.js", type="module")

# Django looks for admin classes in modules of this name only.
__all__ = ("HistoryEntryAdmin", "OperatorAccessAdmin")

admin.site.unregister([User, Group])


def with_device_count(queryset: QuerySet[Any], field: str) -> QuerySet[Any]:
    """The rows with `device_count`: of how many devices each is what the field names."""
    own = Device.objects.filter(**{field: OuterRef("pk")}).order_by().values(field)
    return queryset.annotate(device_count=Subquery(own.annotate(count=Count("pk")).values("count")))


def devices_link(row: Model, field: str) -> SafeString:
    """How many devices they are, leading to their list."""
    url = f"{reverse('admin:devices_device_changelist')}?{field}__id__exact={row.pk}"
    return format_html('<a href="{}">{}</a>', url, getattr(row, "device_count", 0) or 0)


class FoundAsShown:
    """For admin classes of secrets: `rc_abc_…`, as lists show it, finds what has that prefix."""

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
        help_text="What the key is for, so that people know later which one to revoke. Optional.",
    )


class OfTenantField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A site or a group, told apart from those of the same name by its tenant."""

    def label_from_instance(self, obj: Site | DeviceGroup) -> str:
        return f"{obj.name} ({obj.tenant})"


class ChoosesPlace:
    """For admin classes: people who see several tenants see of which one a site or a group is."""

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in PLACES and sees_several_tenants(request):
            kwargs["queryset"] = db_field.remote_field.model._default_manager.select_related(
                "tenant"
            )
            kwargs["form_class"] = OfTenantField
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class TenantOfPersonInline(TabularInline):
    """The tenants of a person, for operators."""

    model = Membership
    fields = ("tenant", "role", "created_at")
    readonly_fields = ("created_at",)
    extra = 0
    hide_title = True
    verbose_name = "tenant of this person"
    verbose_name_plural = "tenants of this person"


@admin.register(User)
class UserAdmin(OperatorOnly, DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login")
    list_filter = (
        ("is_staff", BooleanRadioFilter),
        ("is_superuser", BooleanRadioFilter),
        ("is_active", BooleanRadioFilter),
    )
    list_filter_submit = True
    list_fullwidth = True
    search_help_text = "Name or e-mail address"
    inlines = (TenantOfPersonInline, EmailAddressInline, SecondFactorInline)

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> Any:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Everybody who is added here may sign in here."""
        obj.is_staff = obj.is_staff or not change
        super().save_model(request, obj, form, change)


@admin.register(Group)
class GroupAdmin(OperatorOnly, DjangoGroupAdmin, ModelAdmin):
    list_fullwidth = True


class PersonField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A person by user name: a list to choose from would name the people of other tenants."""

    default_error_messages = {"invalid_choice": "Nobody has this user name."}


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["user"] = self.instance.user.get_username()


class MembershipFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """Keeps an owner in the tenant; only operators may leave it without one."""

    is_operator = False

    def clean(self) -> None:
        super().clean()
        if self.is_operator or any(self.errors):
            return
        leaving = {form.instance.pk for form in self.initial_forms if self._leaves(form)}
        try:
            owner_ensure_other(tenant_id=self.instance.pk, leaving=leaving)
        except LastOwner as error:
            if not self._gains_owner():
                raise forms.ValidationError(str(error)) from None

    def _leaves(self, form: "forms.ModelForm[Membership]") -> bool:
        return self._is_deleted(form) or form.cleaned_data.get("role") != Role.OWNER

    def _gains_owner(self) -> bool:
        kept = [form for form in self.forms if not self._is_deleted(form)]
        return any(form.cleaned_data.get("role") == Role.OWNER for form in kept)

    @staticmethod
    def _is_deleted(form: "forms.ModelForm[Membership]") -> bool:
        return bool(form.cleaned_data.get(DELETION_FIELD_NAME))


class MembershipInline(ScopedInline):
    model = Membership
    form = MembershipForm
    formset = MembershipFormSet
    least_role = Role.OWNER
    readonly_fields = ("user_name", "created_at")
    verbose_name = "member"
    verbose_name_plural = "members"

    @display(description="user name")
    def user_name(self, membership: Membership) -> str:
        return membership.user.get_username()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Where nothing can be changed, names without a link: people's pages are for operators."""
        may_change = self.has_change_permission(request, obj)
        return ("user" if may_change else "user_name", "role", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user").order_by("user__username")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.is_operator = access_in(request).is_operator
        return formset

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name != "user":
            return super().formfield_for_foreignkey(db_field, request, **kwargs)
        return PersonField(
            User.objects.filter(is_active=True),
            to_field_name="username",
            label="user name",
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        )


@admin.register(Tenant)
class TenantAdmin(ScopedAdmin):
    """Operators add tenants; owners name theirs, set its defaults and choose its members."""

    least_role = Role.OWNER
    list_display = ("name", "slug", "devices", "default_interval_s", "default_grace_s", "is_active")
    search_fields = ("name", "slug")
    search_help_text = "Name or slug"
    fields = (
        ("name", "slug"),
        ("default_interval_s", "default_grace_s"),
        ("registration", "device_limit"),
        ("rate_per_s", "burst"),
        ("device_rate_per_s", "device_burst"),
        "is_active",
    )
    prepopulated_fields = {"slug": ("name",)}
    list_fullwidth = True
    inlines = (MembershipInline,)
    actions = None
    actions_detail = ("issue_gateway_key",)

    class Media:
        js = (COPIES,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        return with_device_count(super().get_queryset(request), "tenant")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).is_operator

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A tenant that has devices is made inactive, not deleted."""
        return access_in(request).is_operator and not getattr(obj, "device_count", None)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """The slug stands in the topics of devices; the rest is for operators to say."""
        fixed = ["slug", "device_limit", "rate_per_s", "burst", "is_active"]
        return [] if access_in(request).is_operator else fixed

    def get_prepopulated_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    @display(description="devices")
    def devices(self, tenant: Tenant) -> SafeString:
        return devices_link(tenant, "tenant")

    def has_issue_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Managers issue keys, also those who may not change the tenant itself."""
        tenant = self.get_object(request, object_id) if object_id else None
        return tenant is not None and access_in(request).allows(Role.MANAGER, tenant.pk)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        allowed = self.has_issue_permission(request, object_id)
        return self._get_base_actions_detail() if allowed else []

    @action(
        description="Issue gateway key",
        permissions=["issue"],
        icon="key",
        url_path="issue-gateway-key",
    )
    def issue_gateway_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        tenant = get_object_or_404(self.get_queryset(request), pk=object_id)
        back = reverse("admin:devices_tenant_change", args=(tenant.pk,))
        form = KeyForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            question = Question(
                title=f"Issue a gateway key for {tenant}",
                lead="A gateway speaks for all devices of the tenant. Its other keys stay in "
                "force.",
                submit="Issue key",
                back=back,
                about=tenant,
                form=form,
            )
            return self.ask(request, question)
        issued = gateway_credential_issue(tenant=tenant, label=form.cleaned_data["label"])
        self.log_change(request, tenant, f"Issued gateway key rc_{issued.credential.prefix}_…")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"New gateway key for {tenant}",
            "original": tenant,
            "key": issued.key,
            "readings_url": device_url(request, "readings"),
            "about_unknown": UNKNOWN_DEVICES[Registration(tenant.registration)],
            "keys": reverse("admin:devices_credential_changelist"),
            "back": back,
            "media": self.media,
        }
        template = "admin/devices/tenant/gateway_key_issued.html"
        return TemplateResponse(request, template, context)


class NamedForm(KeepsTenant, forms.ModelForm):  # type: ignore[type-arg]
    """For sites and groups."""


@admin.register(Site)
class SiteAdmin(ScopedAdmin):
    form = NamedForm
    list_display = ("name", "tenant", "devices", "latitude_deg", "longitude_deg")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_filter_submit = True
    list_select_related = ("tenant",)
    list_fullwidth = True
    search_fields = ("name",)
    search_help_text = "Name"
    fields = ("tenant", "name", ("latitude_deg", "longitude_deg"))
    empty_help = "No sites yet: a site is where devices stand."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        return with_device_count(super().get_queryset(request), "site")

    @display(description="devices")
    def devices(self, site: Site) -> SafeString:
        return devices_link(site, "site")


@admin.register(DeviceGroup)
class DeviceGroupAdmin(ScopedAdmin):
    form = NamedForm
    list_display = ("name", "tenant", "devices", "description")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_filter_submit = True
    list_select_related = ("tenant",)
    list_fullwidth = True
    search_fields = ("name", "description")
    search_help_text = "Name or description"
    fields = ("tenant", "name", "description")
    empty_help = "No groups yet: a group gathers devices, wherever they stand."

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceGroup]:
        return with_device_count(super().get_queryset(request), "group")

    @display(description="devices")
    def devices(self, group: DeviceGroup) -> SafeString:
        return devices_link(group, "group")


@display(description="state")
def key_state(credential: Credential) -> SafeString:
    """In force, or since when not."""
    when = f"{credential.revoked_at:%Y-%m-%d %H:%M}" if credential.revoked_at else ""
    if credential.is_in_force(ts=timezone.now()):
        until = f" until {when} UTC" if when else ""
        return format_html('<span class="key key--in-force">in force{}</span>', until)
    return format_html('<span class="key">revoked {} UTC</span>', when)


@display(description="key")
def key_prefix(credential: Credential) -> SafeString:
    return format_html("<code>rc_{}_…</code>", credential.prefix)


@display(description="device", ordering="device__device_id")
def key_speaker(credential: Credential) -> str:
    """The device whose key it is, or that it is a gateway's."""
    return credential.device.device_id if credential.device else "gateway"


class CredentialInline(ScopedInline):
    """A device's keys on its page. New ones are issued there, each shown once."""

    model = Credential
    fields = ("key", "label", "created_at", "state", "revoke")
    readonly_fields = fields
    verbose_name_plural = "keys"
    can_delete = False
    ordering = ("-created_at",)

    key = staticmethod(key_prefix)
    state = staticmethod(key_state)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="", empty_value="")
    def revoke(self, credential: Credential) -> str:
        if not credential.is_in_force(ts=timezone.now()):
            return ""
        url = reverse("admin:devices_credential_revoke", args=(credential.pk,))
        return format_html('<a class="rc-link" href="{}">Revoke…</a>', url)


class GatewayFilter(RadioFilter):
    title = "whose"
    parameter_name = "of"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("devices", "devices"), ("gateways", "gateways")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(device__isnull=self.value() == "gateways")


@admin.register(Credential)
class CredentialAdmin(FoundAsShown, ScopedAdmin):
    """Keys are found and revoked here; they are issued on the page of their device or tenant."""

    list_display = ("key", "speaker", "tenant", "label", "created_at", "state")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("revoked_at", admin.EmptyFieldListFilter),
        GatewayFilter,
    )
    list_filter_submit = True
    list_select_related = ("device", "tenant")
    list_fullwidth = True
    search_fields = ("prefix", "label", "device__device_id", "device__name")
    search_help_text = "Key, label or device"
    show_full_result_count = False
    fields = (("key", "state"), "speaker", "tenant", "label", "created_at")
    readonly_fields = ("key", "state", "speaker", "created_at")
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    empty_help = (
        "No keys yet: they are issued on the page of a device, or of a tenant for gateways."
    )

    key = staticmethod(key_prefix)
    speaker = staticmethod(key_speaker)
    state = staticmethod(key_state)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A key is revoked, so that it stays known that there was one."""
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        if object_id is None:
            return self.has_change_permission(request)
        credential = self.get_object(request, object_id)
        return (
            credential is not None
            and credential.is_in_force(ts=timezone.now())
            and self.has_change_permission(request, credential)
        )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody finds a key by guessing at its hash."""
        hidden = lookup.startswith(("secret_sha256", "mqtt_password_hash"))
        return not hidden and super().lookup_allowed(lookup, value, request)

    @action(description="Revoke selected keys", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        own = access_in(request).narrow(queryset, self.least_role)
        count = credentials_revoke(ids=list(own.values_list("pk", flat=True)), ts=timezone.now())
        messages.success(request, f"Keys revoked: {count}.")

    @action(
        description="Revoke",
        permissions=["revoke"],
        icon="key_off",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = get_object_or_404(self.get_queryset(request), pk=object_id)
        back = _speaker_url(credential)
        if request.method == "POST":
            credentials_revoke(ids=[credential.pk], ts=timezone.now())
            self.log_change(request, credential, "Revoked.")
            messages.success(request, f"Key rc_{credential.prefix}_… is revoked.")
            return HttpResponseRedirect(back)
        speaker = credential.device or f"every gateway of {credential.tenant} that has it"
        question = Question(
            title=f"Revoke key rc_{credential.prefix}_…",
            lead=f"Some seconds after, {speaker} can no longer post with this key, and this "
            "cannot be undone. There may be several keys: issue the new one first.",
            submit="Revoke",
            back=back,
            about=credential,
            is_danger=True,
        )
        return self.ask(request, question)


def _speaker_url(credential: Credential) -> str:
    """The page on which the key was issued."""
    if credential.device_id is None:
        return reverse("admin:devices_tenant_change", args=(credential.tenant_id,))
    return reverse("admin:devices_device_change", args=(credential.device_id,))


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_expires_at(self) -> datetime:
        expires_at: datetime = self.cleaned_data["expires_at"]
        if expires_at <= timezone.now():
            raise forms.ValidationError("This is past.")
        return expires_at


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(FoundAsShown, ChoosesPlace, ScopedAdmin):
    """Tokens are made here, each shown once, and revoked here."""

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
    search_fields = ("prefix", "label", "site__name", "group__name")
    search_help_text = "Token, label, site or group"
    show_full_result_count = False
    fields = (("tenant", "site", "group"), "label", ("max_uses", "expires_at"))
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    empty_help = "No enrolment tokens yet: with one, devices add themselves and get a key each."

    class Media:
        js = (COPIES,)

    @display(description="token", ordering="prefix")
    def token(self, token: EnrolmentToken) -> SafeString:
        return format_html("<code>rt_{}_…</code>", token.prefix)

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
        """Only the label of a token changes."""
        fixed = ["token", "state", "tenant", "site", "group", "uses", "expires_at"]
        return fixed if obj else []

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """An address cannot say when it expires: Django's widget takes no text."""
        initial = super().get_changeform_initial_data(request)
        return {**initial, "expires_at": timezone.now().replace(microsecond=0) + TOKEN_LIFE}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is revoked, so that it stays known that there was one."""
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        if object_id is None:
            return self.has_change_permission(request)
        token = self.get_object(request, object_id)
        in_force = token is not None and token.revoked_at is None
        return in_force and self.has_change_permission(request, token)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody finds a token by guessing at its hash."""
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
        """What follows is always the page with the token."""
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
        """The page that shows the token, once."""
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

    @action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[EnrolmentToken]) -> None:
        own = access_in(request).narrow(queryset, self.least_role)
        count = tokens_revoke(ids=list(own.values_list("pk", flat=True)), ts=timezone.now())
        messages.success(request, f"Enrolment tokens revoked: {count}.")

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
            messages.success(request, f"Enrolment token rt_{token.prefix}_… is revoked.")
            return HttpResponseRedirect(back)
        question = Question(
            title=f"Revoke enrolment token rt_{token.prefix}_…",
            lead="No more devices enrol with it, and this cannot be undone. Devices that did keep "
            "their keys.",
            submit="Revoke",
            back=back,
            about=token,
            is_danger=True,
        )
        return self.ask(request, question)


def _token_lead(token: EnrolmentToken) -> str:
    until = token.expires_at.strftime("%Y-%m-%d %H:%M")
    devices = "one device" if token.max_uses == 1 else f"up to {token.max_uses} devices"
    return f"It is good for {devices}, until {until} UTC."
