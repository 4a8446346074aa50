"""The admin for sites and device groups, and how other pages count and select them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, ForeignKey, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from devices.admin.base import KeepsTenant, ScopedAdmin
from devices.admin.choices import NAMED
from devices.models import (
    Device,
    DeviceGroup,
    Site,
)
from devices.tenancy.access import sees_several_tenants

# What a device or an enrolment token may belong to in addition to its tenant.
PLACES = ("site", "group")


def with_device_count(queryset: QuerySet[Any], field: str) -> QuerySet[Any]:
    """Adds `device_count`: how many devices refer to the row through this field."""
    own = Device.objects.filter(**{field: OuterRef("pk")}).order_by().values(field)
    count = Subquery(own.annotate(count=Count("pk")).values("count"))
    return queryset.annotate(device_count=Coalesce(count, 0))


def devices_link(row: Model, field: str) -> SafeString:
    """The number of devices, as a link to the list of these devices."""
    url = f"{reverse('admin:devices_device_changelist')}?{field}__id__exact={row.pk}"
    return format_html('<a href="{}">{}</a>', url, getattr(row, "device_count", 0))


class OfTenantField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A site or a group, labelled with its tenant because other tenants may use the same name."""

    def label_from_instance(self, obj: Site | DeviceGroup) -> str:
        return f"{obj.name} ({obj.tenant})"


class ChoosesPlace:
    """For admin classes: shows which tenant a site or a group belongs to, if the person has several
    tenants."""

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in PLACES and sees_several_tenants(request):
            kwargs["queryset"] = db_field.remote_field.model._default_manager.select_related(
                "tenant"
            )
            kwargs["form_class"] = OfTenantField
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class GathersDevices(ScopedAdmin):
    """For sites and groups, which can be deleted even if they have devices."""

    def about_deletion(self, rows: QuerySet[Any]) -> str:
        counts = [(str(one), one.device_count) for one in rows]
        named, others = counts[:NAMED], counts[NAMED:]
        words = ", ".join(f"{name} has {count}" for name, count in named)
        more = f", {len(others):,} others have {sum(count for _, count in others):,}"
        name = self.opts.verbose_name
        return f"Their devices stay, without a {name}: {words}{more if others else ''}."


class NamedForm(KeepsTenant, forms.ModelForm):  # type: ignore[type-arg]
    """For sites and groups."""


@admin.register(Site)
class SiteAdmin(GathersDevices):
    form = NamedForm
    list_display = ("name", "tenant", "device_count", "latitude_deg", "longitude_deg")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_filter_submit = True
    list_select_related = ("tenant",)
    list_fullwidth = True
    search_fields = ("search_text__finds",)
    search_help_text = "Name"
    fields = ("tenant", "name", ("latitude_deg", "longitude_deg"))
    empty_help = "No sites yet. A site is a place where devices are installed."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        return with_device_count(super().get_queryset(request), "site")

    @display(description="devices", ordering="device_count")
    def device_count(self, site: Site) -> SafeString:
        return devices_link(site, "site")


@admin.register(DeviceGroup)
class DeviceGroupAdmin(GathersDevices):
    form = NamedForm
    list_display = ("name", "tenant", "device_count", "description")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_filter_submit = True
    list_select_related = ("tenant",)
    list_fullwidth = True
    search_fields = ("search_text__finds",)
    search_help_text = "Name or description"
    fields = ("tenant", "name", "description")
    empty_help = "No groups yet. A group holds devices from any of the sites."

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceGroup]:
        return with_device_count(super().get_queryset(request), "group")

    @display(description="devices", ordering="device_count")
    def device_count(self, group: DeviceGroup) -> SafeString:
        return devices_link(group, "group")
