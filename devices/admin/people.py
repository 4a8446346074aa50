"""The admin for people, and for what operators need in order to help them sign in."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from devices.admin.base import InlineOneAfterAnother, OneAfterAnother, OperatorOnly
from devices.audit.operator_access import LastOperator, operator_ensure_other, operators_lock
from devices.models import FailedSignIn, Membership

# Addresses and factors are shown on the person's page; single sign-on is configured by settings.
admin.site.unregister([User, Group])
admin.site.unregister([EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken])

# What Django calls "email address", "staff status" and "superuser status".
EMAIL, MAY_SIGN_IN, OPERATOR = "E-mail address", "May sign in", "Operator"
MAKE_AN_OPERATOR = ("is_active", "is_staff", "is_superuser")


class EmailAddressInline(InlineOneAfterAnother, TabularInline):
    """The e-mail addresses with which a person can sign in, for operators."""

    model = EmailAddress
    fields = ("email", "verified", "primary")
    extra = 0
    hide_title = True
    verbose_name = "e-mail address"
    verbose_name_plural = "e-mail addresses"


class SecondFactorInline(TabularInline):
    """What a person signs in with in addition to the password; an operator can remove it if it is
    lost."""

    model = Authenticator
    fields = ("type", "created_at", "last_used_at")
    readonly_fields = fields
    extra = 0
    hide_title = True
    verbose_name = "second factor"
    verbose_name_plural = "second factors"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TenantOfPersonInline(InlineOneAfterAnother, TabularInline):
    """A person's memberships, for operators."""

    model = Membership
    fields = ("tenant", "role", "created_at")
    readonly_fields = ("created_at",)
    extra = 0
    hide_title = True
    verbose_name = "membership"
    verbose_name_plural = "memberships"


class PersonForm(UserChangeForm):
    class Meta(UserChangeForm.Meta):
        labels = {"email": EMAIL, "is_staff": MAY_SIGN_IN, "is_superuser": OPERATOR}
        help_texts = {
            "email": "Works like the user name for signing in, and gets the link for a forgotten "
            "password. Single sign-on uses the verified addresses below.",
            "is_staff": "Can open this portal, with the tenants below.",
            "is_superuser": "Can see and change everything in all tenants. Every request by an "
            "operator is recorded.",
            "is_active": "Untick this to close the account; the person is signed out at once.",
        }

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not all(self.cleaned_data.get(name) for name in MAKE_AN_OPERATOR):
            try:
                operator_ensure_other(leaving=[self.instance.pk])
            except LastOperator as error:
                raise ValidationError(str(error)) from None
        return cleaned


class NewPersonForm(UserCreationForm):
    class Meta(UserCreationForm.Meta):
        labels = {"email": EMAIL}
        help_texts = {"email": "Works like the user name for signing in."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        password = self.fields["usable_password"]
        password.help_text = "Choose Disabled for people who only use single sign-on."


class StaffFilter(BooleanRadioFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = MAY_SIGN_IN


class OperatorFilter(BooleanRadioFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = OPERATOR


@admin.register(User)
class UserAdmin(OperatorOnly, OneAfterAnother, DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """What people may do depends on their roles in tenants and on whether they are operators;
    Django's groups and permissions have no effect."""

    form = PersonForm
    add_form = NewPersonForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "may_sign_in", "is_operator", "is_active", "last_login")
    list_filter = (
        ("is_staff", StaffFilter),
        ("is_superuser", OperatorFilter),
        ("is_active", BooleanRadioFilter),
    )
    list_filter_submit = True
    list_fullwidth = True
    search_help_text = "Name or e-mail address"
    fieldsets = (
        (None, {"fields": (("username", "email"), ("first_name", "last_name"), "password")}),
        ("Access", {"fields": MAKE_AN_OPERATOR}),
        ("Dates", {"fields": (("last_login", "date_joined"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "usable_password", "password1", "password2")}),
    )
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    inlines = (TenantOfPersonInline, EmailAddressInline, SecondFactorInline)

    @display(description=MAY_SIGN_IN, ordering="is_staff", boolean=True)
    def may_sign_in(self, person: User) -> bool:
        return person.is_staff

    @display(description=OPERATOR, ordering="is_superuser", boolean=True)
    def is_operator(self, person: User) -> bool:
        return person.is_superuser

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Locks the operators before the person, which is the order that every writer uses to
        avoid deadlocks."""
        if request.method == "POST" and self.has_change_permission(request):
            operators_lock()
        return super().get_object(request, object_id, from_field)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Raises LastOperator."""
        operator_ensure_other(leaving=[person.pk for person in objs])
        return super().get_deleted_objects(objs, request)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Raises LastOperator."""
        operator_ensure_other(leaving=list(queryset.values_list("pk", flat=True)))
        super().delete_queryset(request, queryset)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except LastOperator as error:
            messages.error(request, str(error))
            return redirect("admin:auth_user_change", object_id)

    def response_action(  # type: ignore[override]  # Django's has no third argument yet
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        operators_lock()
        try:
            return super().response_action(request, queryset)
        except LastOperator as error:
            messages.error(request, str(error))
            return redirect(request.get_full_path())

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> Any:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """People added here may sign in to the portal."""
        obj.is_staff = obj.is_staff or not change
        super().save_model(request, obj, form, change)


@admin.register(FailedSignIn)
class FailedSignInAdmin(OperatorOnly, ModelAdmin):
    """Who failed to sign in, and from where. Deleting a row lets a locked-out person try again."""

    list_display = ("username", "ip_address", "failures", "is_locked", "attempt_time")
    list_display_links = None
    list_fullwidth = True
    search_fields = ("username", "ip_address")
    search_help_text = "User name or address"
    empty_help = "No failed sign-ins. A row disappears when its person signs in."
    ordering = ("-attempt_time",)
    actions = ("let_in",)

    @display(description="failures", ordering="failures_since_start")
    def failures(self, attempt: FailedSignIn) -> int:
        return attempt.failures_since_start

    @display(description="state")
    def is_locked(self, attempt: FailedSignIn) -> SafeString:
        since = timezone.now() - settings.AXES_COOLOFF_TIME
        locked = (
            attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT
            and attempt.attempt_time >= since
        )
        look = "rc-missing" if locked else "key"
        return format_html('<span class="{}">{}</span>', look, "locked out" if locked else "")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @action(description="Let in again", permissions=["delete"])
    def let_in(self, request: HttpRequest, queryset: QuerySet[FailedSignIn]) -> None:
        count, _ = queryset.delete()
        messages.success(request, f"{count} failed sign-in{pluralize(count)} cleared.")
