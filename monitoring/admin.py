"""The admin pages of devices, with the latest status of each, and of the schedule."""

import re
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ChoicesCheckboxFilter,
)
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from devices.admin.base import (
    KeepsTenant,
    OperatorOnly,
    Question,
    ScopedAdmin,
    changes_log,
)
from devices.admin.choices import choice_of
from devices.admin.keys import CredentialInline, KeyForm, key_shown
from devices.admin.sites import PLACES, ChoosesPlace
from devices.fleet.keys import credential_issue
from devices.fleet.registration import devices_approve
from devices.models import Device
from devices.tenancy.access import Access, access_in
from monitoring.pages.dashboard import fleet_context
from monitoring.pages.device import heartbeats_of, refusals_of, transitions_of
from monitoring.pages.fleet import Seen, changes_since, counts_by_state, seen_in, urgency
from monitoring.pages.formatting import (
    NOTHING,
    ago,
    battery,
    live,
    live_state,
    moment,
    state_badge,
    unparted,
)
from telemetry.models import PresenceState
from telemetry.presence.pausing import presence_pause, presence_resume

PER_PAGE = 50
SEEN = re.compile(r"[0-9]{1,9}", re.ASCII)
ABOUT_APPROVAL = (
    "This device registered itself. The messages it has sent so far are stored within seconds of "
    "your approval. If it does not belong here, delete it: its messages are then never stored."
)
NOT_APPROVED = "registered itself; its messages are held until somebody approves it"
ABOUT_APPROVALS = (
    "These devices registered themselves. The messages they have sent so far are stored within "
    "seconds of your approval. Delete devices that do not belong here: their messages are then "
    "never stored."
)
ABOUT_RESUME = "After this, a device becomes late again if no message arrives in time."
ABOUT_DELETION = (
    "The readings, heartbeats and presence of a deleted device stay stored but are no longer "
    "shown, not even if you add a device with the same name."
)
ABOUT_PAUSE = (
    "A paused device never becomes refused, late or offline. Its messages are still stored."
)


class DeviceForm(KeepsTenant, forms.ModelForm):  # type: ignore[type-arg]
    pass


class PauseForm(forms.Form):
    why = forms.CharField(
        label="Reason",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"x-init": "$nextTick(() => $el.focus())"}),
        help_text="Shown to everybody who can see the device.",
    )
    until = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget(),
        help_text="When the pause ends, in UTC. Empty: when somebody resumes it.",
    )

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise forms.ValidationError("This time has passed; choose a later one.")
        return until


@admin.register(Device)
class DeviceAdmin(ChoosesPlace, ScopedAdmin):
    """Devices; monitoring/live.js keeps the pages up to date in the browser."""

    form = DeviceForm
    list_display = ("state", "named", "tenant", "place", "kind", "last_seen", "charge", "why")
    list_display_links = ("named",)
    list_filter = (
        ("status__state", ChoicesCheckboxFilter),
        ("is_pending", BooleanRadioFilter),
        ("kind", ChoicesCheckboxFilter),
        ("tenant", AutocompleteSelectFilter),
        ("site", AutocompleteSelectFilter),
        ("group", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_before_template = "admin/devices/device/strip.html"
    list_fullwidth = True
    list_per_page = PER_PAGE
    list_max_show_all = PER_PAGE
    show_full_result_count = False
    search_fields = ("device_id", "name", "site__name", "group__name")
    search_help_text = "Device ID, name, site or group"
    ordering = ("device_id",)
    empty_help = "No devices yet: add one, then issue its key."

    fields = (
        ("tenant", "device_id"),
        ("name", "kind"),
        ("site", "group"),
        ("expected_interval_s", "grace_s"),
        ("rate_per_s", "burst"),
    )
    inlines = (CredentialInline,)
    change_form_outer_before_template = "admin/devices/device/presence_panel.html"
    actions = ("approve_selected", "pause_selected", "resume_selected")
    actions_detail = ("approve", "issue_key", "pause", "resume")

    class Media:
        js = (Script("monitoring/live.js", type="module"),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        return super().get_queryset(request).select_related("status", "tenant", "site", "group")

    @display(description="state", ordering=urgency("status__state"))
    def state(self, device: Device) -> SafeString:
        return live_state(device.pk, device.device_id, device.status.state)

    @display(description="device", ordering="device_id")
    def named(self, device: Device) -> SafeString:
        name = format_html('<span class="rc-second">{}</span>', device.name)
        pending = format_html(' <span class="rc-pending">{}</span>', state_badge("pending"))
        return format_html(
            "{}{}{}",
            device.device_id,
            pending if device.is_pending else "",
            name if device.name else "",
        )

    @display(description="site", ordering="site__name", empty_value=NOTHING)
    def place(self, device: Device) -> str | None:
        return device.site.name if device.site else None

    @display(description="last seen", ordering="status__last_seen")
    def last_seen(self, device: Device) -> SafeString:
        return live(device.pk, "last_seen", ago(device.status.last_seen))

    @display(description="battery", ordering="status__battery_pct")
    def charge(self, device: Device) -> SafeString:
        return live(device.pk, "battery_pct", battery(device.status.battery_pct))

    @display(description="why")
    def why(self, device: Device) -> SafeString:
        if device.is_pending:
            return format_html('<span class="rc-why">{}</span>', NOT_APPROVED)
        return format_html(
            '<span class="rc-why" title="{}" data-device="{}" data-field="reason">{}</span>',
            device.status.reason,
            device.pk,
            unparted(device.status.reason),
        )

    def get_inlines(self, request: HttpRequest, obj: Device | None) -> Any:
        return self.inlines if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Device | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Offers only sites and groups of the device's tenant, once the device has one."""
        form = super().get_form(request, obj, change, **kwargs)
        for name in PLACES:
            if obj and (place := form.base_fields.get(name)):
                place.queryset = place.queryset.filter(tenant=obj.tenant_id)
        return form

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), **_counts(request)})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        device = self.get_object(request, object_id)
        past = _past(device) if device else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **past})

    def get_urls(self) -> list[URLPattern]:
        """Adds the parts of pages that monitoring/live.js fetches again and again."""
        view = self.admin_site.admin_view
        return [
            path("fleet/", view(self.fleet), name="devices_device_fleet"),
            path("counts/", view(self.counts), name="devices_device_counts"),
            path("<int:pk>/presence/", view(self.presence), name="devices_device_presence"),
            *super().get_urls(),
        ]

    def fleet(self, request: HttpRequest) -> HttpResponse:
        return TemplateResponse(request, "admin/fleet.html", fleet_context(request))

    def counts(self, request: HttpRequest) -> HttpResponse:
        return TemplateResponse(request, "admin/devices/device/counts.html", _counts(request))

    def presence(self, request: HttpRequest, pk: int) -> HttpResponse:
        device = get_object_or_404(self.get_queryset(request), pk=pk)
        return TemplateResponse(request, "admin/devices/device/presence.html", _past(device))

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        """Leaves out actions that are not allowed or would change nothing."""
        device = self.get_object(request, object_id)
        if device is None or not self.has_change_permission(request, device):
            return []
        is_paused = device.status.state == PresenceState.PAUSED
        pointless = {f"devices_device_{'pause' if is_paused else 'resume'}"}
        if not device.is_pending:
            pointless.add("devices_device_approve")
        return [one for one in self._get_base_actions_detail() if one.action_name not in pointless]

    def has_operate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        if object_id is None:
            return self.has_change_permission(request)
        device = self.get_object(request, object_id)
        return device is not None and self.has_change_permission(request, device)

    def about_deletion(self, rows: QuerySet[Device]) -> str:
        return ABOUT_DELETION

    @action(description="Approve…", permissions=["operate"])
    def approve_selected(
        self, request: HttpRequest, queryset: QuerySet[Device]
    ) -> HttpResponse | None:
        chosen = choice_of(request, queryset.filter(is_pending=True))
        if chosen is None:
            return None
        if not chosen.is_confirmed:
            return self.ask(request, chosen.question("Approve", lead=ABOUT_APPROVALS))
        changes_log(request, list(chosen.rows.filter(pk__in=chosen.ids)), "Approved.")
        count = devices_approve(ids=chosen.ids)
        messages.success(request, f"{chosen.words(count)} approved.")
        return None

    @action(
        description="Approve",
        permissions=["operate"],
        icon="check",
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        device = get_object_or_404(self.get_queryset(request), pk=object_id)
        if request.method != "POST":
            return self.ask(
                request,
                Question(
                    title=f"Approve {device}",
                    lead=ABOUT_APPROVAL,
                    submit="Approve",
                    back=_url_of(device),
                    about=device,
                ),
            )
        if devices_approve(ids=[device.pk]):
            self.log_change(request, device, "Approved.")
            messages.success(request, f"{device} approved.")
        return HttpResponseRedirect(_url_of(device))

    @action(description="Pause…", permissions=["operate"])
    def pause_selected(
        self, request: HttpRequest, queryset: QuerySet[Device]
    ) -> HttpResponse | None:
        chosen = choice_of(request, queryset)
        if chosen is None:
            return None
        form = PauseForm(request.POST if "why" in request.POST else None)
        if not (chosen.is_confirmed and form.is_valid()):
            return self.ask(request, chosen.question("Pause", lead=ABOUT_PAUSE, form=form))
        count = presence_pause(
            device_ids=chosen.ids,
            by=request.user.get_username(),
            ts=timezone.now(),
            **form.cleaned_data,
        )
        messages.success(request, f"{chosen.words(count)} paused.")
        return None

    @action(description="Resume…", permissions=["operate"])
    def resume_selected(
        self, request: HttpRequest, queryset: QuerySet[Device]
    ) -> HttpResponse | None:
        chosen = choice_of(request, queryset.filter(status__state=PresenceState.PAUSED))
        if chosen is None:
            return None
        if not chosen.is_confirmed:
            return self.ask(request, chosen.question("Resume", lead=ABOUT_RESUME))
        count = presence_resume(
            device_ids=chosen.ids, by=request.user.get_username(), ts=timezone.now()
        )
        messages.success(request, f"{chosen.words(count)} resumed.")
        return None

    @action(
        description="Issue key",
        permissions=["operate"],
        icon="key",
        url_path="issue-key",
    )
    def issue_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        device = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = KeyForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self.ask(
                request,
                Question(
                    title=f"Issue a key for {device}",
                    lead="The device sends its key with every message. Its other keys stay valid.",
                    submit="Issue key",
                    back=_url_of(device),
                    about=device,
                    form=form,
                ),
            )
        issued = credential_issue(device=device, label=form.cleaned_data["label"])
        return key_shown(self, request, issued)

    @action(description="Pause", permissions=["operate"], icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        device = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = PauseForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self.ask(
                request,
                Question(
                    title=f"Pause {device}",
                    lead=ABOUT_PAUSE,
                    submit="Pause",
                    back=_url_of(device),
                    about=device,
                    form=form,
                ),
            )
        by = request.user.get_username()
        presence_pause(device_ids=[device.pk], by=by, ts=timezone.now(), **form.cleaned_data)
        self.log_change(request, device, _pause_words(**form.cleaned_data))
        return HttpResponseRedirect(_url_of(device))

    @action(
        description="Resume",
        permissions=["operate"],
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
    )
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        device = get_object_or_404(self.get_queryset(request), pk=object_id)
        if request.method != "POST":
            return self.ask(
                request,
                Question(
                    title=f"Resume {device}",
                    lead=ABOUT_RESUME,
                    submit="Resume",
                    back=_url_of(device),
                    about=device,
                ),
            )
        presence_resume(device_ids=[device.pk], by=request.user.get_username(), ts=timezone.now())
        self.log_change(request, device, "Resumed.")
        return HttpResponseRedirect(_url_of(device))


def _counts(request: HttpRequest) -> dict[str, Any]:
    """The number of devices per state, for the strip above the list.

    The strip's address says what there was when the list was opened. From that follow how many
    devices were added and deleted since, and whether the person now sees other tenants.
    """
    seen = _seen(request)
    tenants = _tenants(access_in(request))
    counts = counts_by_state(after_id=seen.newest_id if seen else 0)
    return {
        "state_counts": counts,
        "chosen_states": request.GET.getlist("status__state__exact"),
        "seen": seen_in(counts),
        "changes": changes_since(seen, counts) if seen else None,
        "tenants": tenants,
        "is_of_others": request.GET.get("seen_tenants", tenants) != tenants,
    }


def _seen(request: HttpRequest) -> Seen | None:
    given = [request.GET.get(name, "") for name in ("seen_devices", "seen_id")]
    if not all(SEEN.fullmatch(one) for one in given):
        return None
    return Seen(*map(int, given))


def _tenants(access: Access) -> str:
    """The tenants whose devices the person sees, as text for the strip's address."""
    return "all" if access.is_operator else "-".join(map(str, sorted(access.roles)))


def _past(device: Device) -> dict[str, Any]:
    return {
        "is_pending": device.is_pending,
        "status": device.status,
        "refusals": refusals_of(device.status),
        "transitions": transitions_of(device.pk),
        "heartbeats": heartbeats_of(device.status),
    }


def _pause_words(why: str, until: datetime | None) -> str:
    return f"Paused until {moment(until)}: {why}" if until else f"Paused: {why}"


def _url_of(device: Device) -> str:
    return reverse("admin:devices_device_change", args=(device.pk,))


admin.site.unregister(
    [PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule]
)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(OperatorOnly, ModelAdmin):
    """What beat runs. The schedule itself is in the settings; here a task can be switched off."""

    list_display = ("name", "task", "every", "enabled", "last_run_at", "total_run_count")
    list_select_related = ("interval", "crontab", "solar", "clocked")
    list_fullwidth = True
    search_fields = ("name", "task")
    fields = (("name", "task"), ("every", "enabled"), ("last_run_at", "total_run_count"))
    readonly_fields = ("name", "task", "every", "last_run_at", "total_run_count")
    actions = None

    @display(description="schedule")
    def every(self, task: PeriodicTask) -> str:
        return str(task.scheduler)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
