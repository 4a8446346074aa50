"""The admin for the history and the operator audit log."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesCheckboxFilter,
    FieldTextFilter,
    RangeDateTimeFilter,
)
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from devices.admin.base import EmptyLast, OperatorOnly, ScopedAdmin, lookups_answered
from devices.audit.history import NOTHING, Line, lines_of
from devices.models import HistoryEntry, OperatorAccess
from devices.tenancy.access import Role, access_in


class OnlyRead(BaseModelAdmin):  # type: ignore[type-arg]
    """For admin classes whose rows cannot be changed."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PeriodFilter(RangeDateTimeFilter):
    """Filters by a range of times, in the time zone shown on the page. An invalid time is reported
    on its field."""

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        form = self.form_class(name=self.field_path, data=self.used_parameters)
        form.is_valid()
        bounds = {"gte": f"{self.field_path}_from", "lte": f"{self.field_path}_to"}
        given = {
            f"{self.field_path}__{lookup}": moment
            for lookup, field in bounds.items()
            if (moment := form.cleaned_data.get(field))
        }
        return queryset.filter(**given)


class InWords(EmptyLast):
    """A list of changes that formats the lines for a whole page at once."""

    def get_results(self, request: HttpRequest) -> None:
        with lookups_answered():
            super().get_results(request)
            entries: list[Any] = list(self.result_list)
        for entry, line in zip(entries, lines_of(entries), strict=True):
            entry.line = line
        self.result_list: Any = entries


@admin.register(HistoryEntry)
class HistoryEntryAdmin(OnlyRead, ScopedAdmin):
    """Who changed what in the requester's tenants, when, and the values before and after."""

    actions = None
    list_display = ("when", "by", "what", "differences", "tenant", "came_from")
    list_display_links = None
    list_filter = (
        ("subject", ChoicesCheckboxFilter),
        ("change", ChoicesCheckboxFilter),
        ("who", FieldTextFilter),
        ("at", PeriodFilter),
        ("tenant", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_select_related = ("tenant",)
    list_fullwidth = True
    list_per_page = 50
    list_max_show_all = 50
    search_fields = ("object_name", "who")
    search_help_text = "What was changed, or the person"
    paginator = InfinitePaginator
    show_full_result_count = False
    fields = ("when", "by", "what", "differences", "came_from")
    readonly_fields = fields
    empty_help = "No changes yet."

    def get_queryset(self, request: HttpRequest) -> QuerySet[HistoryEntry]:
        """Only owners see invitations, both here and on the invitations' own pages."""
        entries = super().get_queryset(request)
        open_to_all = entries.exclude(subject=HistoryEntry.Subject.INVITATION)
        return open_to_all | access_in(request).narrow(entries, Role.OWNER)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return InWords

    @display(description="when", ordering="at")
    def when(self, entry: HistoryEntry) -> str:
        return localize(entry.at)

    @display(description="person", ordering="who")
    def by(self, entry: HistoryEntry) -> str:
        return _line(entry).who

    @display(description="what")
    def what(self, entry: HistoryEntry) -> str:
        return _line(entry).what

    @display(description="from → to")
    def differences(self, entry: HistoryEntry) -> SafeString:
        return differences_shown(_line(entry))

    @display(description="request", empty_value=NOTHING)
    def came_from(self, entry: HistoryEntry) -> SafeString | None:
        origin = _line(entry).origin
        return format_html('<span class="rc-origin">{}</span>', origin) if origin else None


@admin.register(OperatorAccess)
class OperatorAccessAdmin(OnlyRead, OperatorOnly, ModelAdmin):
    """Lists every request made by an operator, because operators can see all tenants."""

    actions = None
    list_display = ("when", "username", "method", "path", "address")
    list_display_links = None
    list_filter = (("username", FieldTextFilter), ("at", PeriodFilter))
    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 50
    list_max_show_all = 50
    search_fields = ("path",)
    search_help_text = "Part of the path"
    paginator = InfinitePaginator
    show_full_result_count = False
    fields = ("when", "username", "method", "path", "address")
    readonly_fields = fields
    empty_help = "No requests from operators yet."

    @display(description="when", ordering="at")
    def when(self, access: OperatorAccess) -> str:
        return localize(access.at)


def differences_shown(line: Line) -> SafeString:
    """One line per field: `name: Kim's phone → Robin's phone`."""
    return format_html_join(
        "",
        '<span class="rc-difference"><b>{}</b> {}{}</span>',
        (
            (one.field, "" if one.before is None else f"{one.before} → ", one.after)
            for one in line.differences
        ),
    )


def _line(entry: HistoryEntry) -> Line:
    """The entry as a readable line; on a list's page, the line has already been made."""
    if not hasattr(entry, "line"):
        entry.line = lines_of([entry])[0]  # type: ignore[attr-defined]
    line: Line = entry.line  # type: ignore[attr-defined]
    return line
