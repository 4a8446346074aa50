"""Admin classes for rows that belong to tenants.

The database decides which rows can be seen (devices.tenancy.scope). What a person may do depends
on Membership.role, so members need no Django permissions: viewers may read, and `least_role` is the
lowest role that may change rows of an admin class. Operators may do everything.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import (
    BaseModelAdmin,
    IncorrectLookupParameters,
    InlineModelAdmin,
)
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import (
    BadRequest,
    FieldDoesNotExist,
    PermissionDenied,
    ValidationError,
)
from django.core.paginator import Page, Paginator
from django.db import DataError, transaction
from django.db.models import F, Field, ForeignKey, Model, QuerySet
from django.db.models.lookups import IsNull
from django.forms import Field as FormField
from django.forms import Form, ModelChoiceField
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

from devices.admin.stale_forms import stale_checked
from devices.audit.history import SUBJECTS, history_of
from devices.models import Device, DeviceGroup, Site, Tenant
from devices.tenancy.access import Role, access_in, sees_several_tenants, tenant_id_of

OWNED = (Tenant, Site, DeviceGroup, Device)
# More rows than any list shows on a page, but fewer than the fields a form may have.
MOST_TICKED = 500
DELETED_AT_ONCE = 1000


class TenantScoped(BaseModelAdmin):  # type: ignore[type-arg]
    """Shared by lists, pages and inlines and their select fields."""

    least_role = Role.MANAGER

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).allows(Role.VIEWER, tenant_id_of(obj))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).allows(self.least_role, tenant_id_of(obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).allows(self.least_role, tenant_id_of(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).allows(self.least_role, tenant_id_of(obj))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access_in(request).allows(Role.VIEWER)

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField | None:  # type: ignore[type-arg]
        model = db_field.remote_field.model
        if model in OWNED:
            queryset = kwargs.get("queryset", model._default_manager.all())
            kwargs["queryset"] = access_in(request).narrow(queryset, self.least_role)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(
        self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> FormField | None:
        """Of the buttons next to a select field, only "add another" is ever shown."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and isinstance(wrapper := field.widget, RelatedFieldWidgetWrapper):
            wrapper.can_change_related = wrapper.can_delete_related = False
            wrapper.can_view_related = False
            if db_field.name in ("tenant", "user"):
                field.widget = wrapper.widget
        return field


def changes_log(request: HttpRequest, rows: Sequence[Model], words: str) -> None:
    """Adds what this person did to the history of each row."""
    if rows and request.user.pk:
        LogEntry.objects.log_actions(
            user_id=request.user.pk,
            queryset=rows,
            action_flag=CHANGE,
            change_message=words,
        )


class Question(NamedTuple):
    """The contents of the page that asks for confirmation before an action.

    `about` is the row that the action changes, `back` is where "Cancel" leads, and `repeated` are
    hidden fields to be sent along. If there are many rows, `names` contains the first few and
    `more` is the number of the others. `notice` says why the page is asking again.
    """

    title: str
    lead: str
    submit: str
    back: str
    about: Model | None = None
    form: Form | None = None
    repeated: Sequence[tuple[str, str]] = ()
    is_danger: bool = False
    notice: str = ""
    names: Sequence[str] = ()
    more: int = 0


@contextmanager
def lookups_answered() -> Iterator[None]:
    """Wraps the queries of a list whose filters come from the URL. Treats a value that the database
    or its driver cannot understand as an error in the URL, as Django does with other bad filters.

    Raises IncorrectLookupParameters, which redirects to the list without filters.
    """
    try:
        yield
    except (DataError, OverflowError, ValueError) as error:
        transaction.set_rollback(True)
        raise IncorrectLookupParameters(error) from error


class FoundByKey(Paginator):  # type: ignore[type-arg]
    """Finds a page's rows by their keys alone. Joined data, such as the status of a row's device,
    is then read only for the rows on the page and not for all rows being sorted."""

    object_list: QuerySet[Any]

    def page(self, number: int | str) -> Page[Any]:
        page: Any = super().page(number)
        page.object_list = self.object_list.filter(pk__in=page.object_list.values("pk"))
        return page


class EmptyLast(ChangeList):
    """Sorts rows without a value last, both ascending and descending."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """PostgreSQL sorts NULL as the highest value, so only descending order needs a change."""
        return [
            one for part in super().get_ordering(request, queryset) for one in self._terms_of(part)
        ]

    def _terms_of(self, part: Any) -> Iterator[Any]:
        if isinstance(part, str) and part.startswith("-") and self._may_be_empty(part[1:]):
            yield IsNull(F(part[1:]), True)
        yield part

    def _may_be_empty(self, path: str) -> bool:
        """False for names that are not fields: a key, or a count added by a queryset."""
        try:
            return any(field.null for field in get_fields_from_path(self.model, path))
        except FieldDoesNotExist:
            return False


class CountedOnce(EmptyLast):
    """Shows the total number of rows if it is known without counting them again."""

    def get_results(self, request: HttpRequest) -> None:
        with lookups_answered():
            super().get_results(request)
        if not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count


class OneAfterAnother(BaseModelAdmin):  # type: ignore[type-arg]
    """For pages on which several people may change the same row."""

    change_form_before_template = "admin/as_shown.html"

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Locks the row while it is being changed. If two people change it at the same time, the
        second sees what the first did, and a row that has been deleted is not saved again."""
        row = super().get_object(request, object_id, from_field)  # type: ignore[misc]
        if row is None or request.method != "POST" or not self.has_change_permission(request, row):
            return row
        list(self.model._default_manager.select_for_update(no_key=True).filter(pk=row.pk))
        return super().get_object(request, object_id, from_field)  # type: ignore[misc]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """If two people have the form open at the same time, shows the second person what the
        first one changed."""
        form = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        return stale_checked(form) if obj else form


class InlineOneAfterAnother(InlineModelAdmin):  # type: ignore[type-arg]
    """For inline rows on such a page."""

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        return super().get_formset(request, obj, form=stale_checked(self.form), **kwargs)


class ChosenRows(BaseModelAdmin):  # type: ignore[type-arg]
    """For lists with actions."""

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Runs the chosen action. Raises BadRequest if there are more rows than a list shows, or if
        an id is invalid or not in the format that the list uses (`1_0` does not count as 10)."""
        assert self.opts.pk is not None
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if len(ticked) > MOST_TICKED:
            raise BadRequest(f"selected rows: select at most {MOST_TICKED}, or all")
        for chosen in ticked:
            try:
                written = str(self.opts.pk.to_python(chosen))
            except ValidationError as error:
                raise BadRequest(f"selected rows: {error}") from None
            if written != chosen:
                raise BadRequest(f"selected rows: {chosen!r} is not a row's id")
        return super().response_action(request, *args, **kwargs)  # type: ignore[misc]

    def ask(self, request: HttpRequest, question: Question) -> TemplateResponse:
        """A page that posts the person's answer to the same URL."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": question.title,
            "question": question,
            "original": question.about,
        }
        return TemplateResponse(request, "admin/ask.html", context)

    def about_deletion(self, rows: QuerySet[Any]) -> str:
        """What happens to related rows that are not deleted, as text for the confirmation page."""
        return ""


class FindsWords(BaseModelAdmin):  # type: ignore[type-arg]
    """For lists with a search: it ignores case and accents."""

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        fields: Sequence[str] = super().get_search_fields(request)  # type: ignore[misc]
        return [one if one.endswith("__finds") else f"{one}__searchable__finds" for one in fields]


class ScopedAdmin(TenantScoped, OneAfterAnother, ChosenRows, FindsWords, ModelAdmin):
    """Admin pages for a model whose rows belong to tenants."""

    compressed_fields = False
    show_facets = ShowFacets.NEVER
    paginator = FoundByKey

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CountedOnce

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """People who may delete the rows may also delete what belongs to the rows, such as keys and
        refused messages, which cannot be deleted on their own."""
        objects, counts, _, protected = super().get_deleted_objects(objs, request)
        may = all(self.has_delete_permission(request, one) for one in objs)
        return objects, counts, set() if may else {str(self.opts.verbose_name)}, protected

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Locks parents before children, in the order of their keys, which is the order that every
        writer uses to avoid deadlocks. Deletes in steps, because Django reads what it deletes."""
        rows = self.model._default_manager.filter(pk__in=queryset.values("pk")).order_by("pk")
        ids = list(rows.select_for_update(no_key=True).values_list("pk", flat=True))
        for start in range(0, len(ids), DELETED_AT_ONCE):
            step = self.model._default_manager.filter(pk__in=ids[start : start + DELETED_AT_ONCE])
            super().delete_queryset(request, step)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Shows who changed what, if that is recorded (devices.tracking), otherwise what the admin
        logged."""
        if self.model not in SUBJECTS:
            return super().history_view(request, object_id, extra_context)
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"History of {row}",
            "original": row,
            "object": row,
            "lines": history_of(row),
        }
        return TemplateResponse(request, "admin/history.html", context)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Leaves out the tenant for people who have only one."""
        columns = list(super().get_list_display(request))
        return [one for one in columns if one != "tenant" or sees_several_tenants(request)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        filters = list(super().get_list_filter(request))
        if sees_several_tenants(request):
            return filters
        return [one for one in filters if not isinstance(one, tuple) or one[0] != "tenant"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """A row cannot be moved to a different tenant."""
        fixed = ["tenant"] if obj is not None and hasattr(obj, "tenant_id") else []
        return [*super().get_readonly_fields(request, obj), *fixed]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        own = list(access_in(request).narrow(Tenant.objects.all(), self.least_role)[:2])
        return {"tenant": own[0].pk, **initial} if len(own) == 1 else initial


class ScopedInline(TenantScoped, InlineOneAfterAnother, TabularInline):
    """Rows that are shown on their parent's page."""

    extra = 0
    hide_title = True


class OperatorOnly(ChosenRows, FindsWords, DjangoModelAdmin):  # type: ignore[type-arg]
    """For rows that belong to the installation rather than to a tenant."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EmptyLast

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Empty for people who are not operators: their scope may not even read the table."""
        rows = super().get_queryset(request)
        return rows if access_in(request).is_operator else rows.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access_in(request).is_operator

    has_change_permission = has_delete_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest) -> bool:
        return access_in(request).is_operator

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access_in(request).is_operator


class KeepsTenant:
    """For model forms: checks that a name is not taken in the tenant, even if the tenant is
    read-only.

    Django skips constraints that involve fields a form does not have.
    """

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"tenant"} if self.instance.pk else excluded  # type: ignore[attr-defined]
