"""The admin of people, tenants, sites and keys. Devices stand in monitoring, with their status."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, ForeignKey, Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from devices.credentials import credentials_revoke
from devices.models import Credential, Device, Membership, Site, Tenant
from devices.scoped_admin import (
    KeepsTenant,
    OperatorOnly,
    OwnFilter,
    Question,
    ScopedAdmin,
    ScopedInline,
    access_in,
)
from devices.tenancy import Role

admin.site.unregister([User, Group])


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
    inlines = (TenantOfPersonInline,)

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> Any:
        return self.inlines if obj else ()


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


class MembershipInline(ScopedInline):
    model = Membership
    form = MembershipForm
    least_role = Role.OWNER
    fields = ("user", "role", "created_at")
    readonly_fields = ("created_at",)
    verbose_name = "member"
    verbose_name_plural = "members"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user").order_by("user__username")

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
    fields = (("name", "slug"), ("default_interval_s", "default_grace_s"), "is_active")
    prepopulated_fields = {"slug": ("name",)}
    list_fullwidth = True
    inlines = (MembershipInline,)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        own = Device.objects.filter(tenant=OuterRef("pk")).order_by().values("tenant")
        count = Subquery(own.annotate(count=Count("pk")).values("count"))
        return super().get_queryset(request).annotate(device_count=count)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).is_operator

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A tenant that has devices is made inactive, not deleted."""
        return access_in(request).is_operator and not getattr(obj, "device_count", None)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """The slug stands in the topics of devices, and being active is for operators to say."""
        return [] if access_in(request).is_operator else ["slug", "is_active"]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    @display(description="devices")
    def devices(self, tenant: Tenant) -> SafeString:
        url = f"{reverse('admin:devices_device_changelist')}?tenant__id__exact={tenant.pk}"
        return format_html('<a href="{}">{}</a>', url, getattr(tenant, "device_count", 0) or 0)


class SiteForm(KeepsTenant, forms.ModelForm):  # type: ignore[type-arg]
    pass


@admin.register(Site)
class SiteAdmin(ScopedAdmin):
    form = SiteForm
    list_display = ("name", "tenant", "devices", "latitude_deg", "longitude_deg")
    list_filter = (("tenant", OwnFilter),)
    list_filter_submit = True
    list_select_related = ("tenant",)
    list_fullwidth = True
    search_fields = ("name",)
    fields = ("tenant", "name", ("latitude_deg", "longitude_deg"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        own = Device.objects.filter(site=OuterRef("pk")).order_by().values("site")
        count = Subquery(own.annotate(count=Count("pk")).values("count"))
        return super().get_queryset(request).annotate(device_count=count)

    @display(description="devices")
    def devices(self, site: Site) -> SafeString:
        url = f"{reverse('admin:devices_device_changelist')}?site__id__exact={site.pk}"
        return format_html('<a href="{}">{}</a>', url, getattr(site, "device_count", 0) or 0)


@display(description="state")
def key_state(credential: Credential) -> SafeString:
    """In force, or since when not."""
    if credential.revoked_at is None:
        return format_html('<span class="key key--in-force">{}</span>', "in force")
    when = credential.revoked_at.strftime("%Y-%m-%d %H:%M")
    return format_html('<span class="key">revoked {} UTC</span>', when)


@display(description="key")
def key_prefix(credential: Credential) -> SafeString:
    return format_html("<code>rc_{}_…</code>", credential.prefix)


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
        if credential.revoked_at:
            return ""
        url = reverse("admin:devices_credential_revoke", args=(credential.pk,))
        return format_html('<a class="rc-link" href="{}">Revoke…</a>', url)


@admin.register(Credential)
class CredentialAdmin(ScopedAdmin):
    """Keys are found and revoked here; they are issued on their device's page."""

    list_display = ("key", "device", "tenant", "label", "created_at", "state")
    list_filter = (("tenant", OwnFilter), ("revoked_at", admin.EmptyFieldListFilter))
    list_filter_submit = True
    list_select_related = ("device", "tenant")
    list_fullwidth = True
    search_fields = ("prefix", "label", "device__device_id", "device__name")
    show_full_result_count = False
    fields = (("key", "state"), "device", "tenant", "label", "created_at")
    readonly_fields = ("key", "state", "device", "created_at")
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    empty_help = "No keys yet: they are issued on the page of a device."

    key = staticmethod(key_prefix)
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
            and credential.revoked_at is None
            and self.has_change_permission(request, credential)
        )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody finds a key by guessing at its hash."""
        hidden = lookup.startswith("secret_sha256")
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
        device_url = reverse("admin:devices_device_change", args=(credential.device_id,))
        if request.method == "POST":
            credentials_revoke(ids=[credential.pk], ts=timezone.now())
            self.log_change(request, credential, "Revoked.")
            messages.success(request, f"Key rc_{credential.prefix}_… is revoked.")
            return HttpResponseRedirect(device_url)
        question = Question(
            title=f"Revoke key rc_{credential.prefix}_…",
            lead=f"Some seconds after, {credential.device} can no longer post with this key, and "
            "this cannot be undone. A device may have several keys: issue the new one first.",
            submit="Revoke",
            back=device_url,
            about=credential,
            is_danger=True,
        )
        return self.ask(request, question)
