"""The admin for tenants, their members, and their gateway keys."""

from collections.abc import Set
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import ForeignKey, Model, QuerySet
from django.forms.formsets import DELETION_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from devices.admin.base import Question, ScopedAdmin, ScopedInline
from devices.admin.keys import COPIES, KeyForm, key_shown
from devices.admin.sites import devices_link, with_device_count
from devices.fleet.keys import gateway_credential_issue
from devices.models import (
    Membership,
    Tenant,
)
from devices.tenancy.access import Role, access_in
from devices.tenancy.members import LastOwner, owner_ensure_other


class PersonField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Accepts a user name rather than offering a list, which would reveal people in other
    tenants."""

    default_error_messages = {
        "invalid_choice": "There is no user with this name, or you do not have access to them. "
        "To add people without an account, use Invitations."
    }


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["user"] = self.instance.user.get_username()


class MembershipFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """Makes sure the tenant keeps an owner; only operators may leave it without one."""

    is_operator = False

    def clean(self) -> None:
        super().clean()
        if self.is_operator or any(self.errors):
            return
        leaving = {form.instance.pk for form in self.initial_forms if self._leaves(form)}
        try:
            owner_ensure_other(tenant_id=self.instance.pk, leaving=leaving)
        except LastOwner as error:
            if not self._gains_owner(leaving):
                raise forms.ValidationError(str(error)) from None

    def _leaves(self, form: "forms.ModelForm[Membership]") -> bool:
        return self._is_deleted(form) or form.cleaned_data.get("role") != Role.OWNER

    def _gains_owner(self, leaving: Set[int | None]) -> bool:
        """Ignores the forms of people who leave: a request could contain the same person twice,
        once staying and once leaving."""
        return any(not self._leaves(form) for form in self.forms if form.instance.pk not in leaving)

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
        """Shows read-only names without a link, because only operators may open people's pages."""
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
    """Operators add tenants; owners may rename their tenant, set its defaults and choose its
    members."""

    least_role = Role.OWNER
    list_display = (
        "name",
        "slug",
        "device_count",
        "default_interval_s",
        "default_grace_s",
        "is_active",
    )
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
        """A tenant that has devices cannot be deleted; it can be made inactive instead."""
        return access_in(request).is_operator and not getattr(obj, "device_count", None)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """The slug is read-only because it is part of the devices' MQTT topics; the other fields
        can only be set by operators."""
        fixed = ["slug", "device_limit", "rate_per_s", "burst", "is_active"]
        return [] if access_in(request).is_operator else fixed

    def get_prepopulated_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    @display(description="devices", ordering="device_count")
    def device_count(self, tenant: Tenant) -> SafeString:
        return devices_link(tenant, "tenant")

    def has_issue_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Managers may issue keys although they may not change the tenant itself."""
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
                lead="A gateway can send messages for all devices of the tenant. The tenant's "
                "other keys stay in force.",
                submit="Issue key",
                back=back,
                about=tenant,
                form=form,
            )
            return self.ask(request, question)
        issued = gateway_credential_issue(tenant=tenant, label=form.cleaned_data["label"])
        return key_shown(self, request, issued)
