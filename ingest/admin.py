"""The admin of rejected messages, refused messages, and the ledger's page."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from redis.exceptions import RedisError
from rest_framework.filters import search_smart_split
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesCheckboxFilter,
    RadioFilter,
)
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from devices.admin.base import Question, ScopedAdmin, changes_log
from devices.admin.choices import choice_of
from devices.models import Device
from devices.tenancy.access import access_in
from ingest.door.refusal_rows import refusal_words
from ingest.door.unknown_keys import unknown_keys
from ingest.ledger.page import ledger_context
from ingest.messages.errors import InvalidMessage
from ingest.models import Refusal, RejectedMessage
from ingest.storage.rejected import name_in, payload_check, rejected_edit
from ingest.storage.replay import MOST_FAILURES, replay_request

PER_PAGE = 50
LOGGED_AT_ONCE = 1000
ABOUT_REPLAY = (
    "Rollcall tries to store it again within seconds. If that succeeds, the ledger counts it as "
    "stored instead of rejected; if not, it stays here with the new reason."
)
STOPPED = (
    "Rollcall does not try again automatically. Remove the cause or correct the message, then "
    "press Replay."
)

ABOUT_REPLAYS = (
    "Rollcall tries to store them again within seconds. The ledger counts those that succeed as "
    "stored instead of rejected; the others stay here with the new reason."
)


class PayloadField(forms.CharField):
    """JSON. Reformatting the same JSON does not count as a change."""

    def has_changed(self, initial: str | None, data: str | None) -> bool:
        return laid_out(data or "") != laid_out(initial or "")


class RejectedForm(forms.ModelForm):  # type: ignore[type-arg]
    """The payload, formatted for reading and checked by the same rules as at the door."""

    payload = PayloadField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14, "spellcheck": "false"}),
        help_text="The message as JSON. A replay stores it for the device that it names.",
    )

    class Meta:
        model = RejectedMessage
        fields = ("payload",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["payload"] = laid_out(self.instance.payload)

    def clean_payload(self) -> str:
        payload: str = self.cleaned_data["payload"]
        if "payload" not in self.changed_data:
            return payload  # its replay says what is wrong with it
        try:
            payload_check(self.instance, payload)
        except InvalidMessage as error:
            raise forms.ValidationError(str(error)) from None
        return payload


class ReplayedFilter(RadioFilter):
    title = "replay"
    parameter_name = "replayed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "waiting"), ("stopped", "waiting, no more tries"), ("yes", "replayed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        if self.value() == "stopped":
            queryset = queryset.filter(replay_failures__gte=MOST_FAILURES)
        return queryset.filter(replayed_at__isnull=self.value() != "yes")


@admin.register(RejectedMessage)
class RejectedMessageAdmin(ScopedAdmin):
    """Messages cannot be added or deleted here, because the ledger counts them."""

    form = RejectedForm
    list_display = ("refusal", "of_device", "tenant", "why", "received_at", "replayed")
    list_display_links = ("of_device",)
    list_filter = (
        ReplayedFilter,
        ("reason", ChoicesCheckboxFilter),
        ("kind", ChoicesCheckboxFilter),
        ("tenant", AutocompleteSelectFilter),
        ("device", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_before_template = "admin/ingest/about_rejected.html"
    list_fullwidth = True
    list_per_page = PER_PAGE
    list_max_show_all = PER_PAGE
    show_full_result_count = False
    search_fields = ("device__device_id", "device__name", "error")
    search_help_text = "Device or error"
    empty_help = "Nothing was rejected: every message that was accepted is stored."
    actions = ("replay_selected",)
    actions_detail = ("replay",)
    actions_submit_line = ("save_and_replay",)

    fields = (
        ("refusal", "of_device", "tenant"),
        ("kind", "received_at", "replayed"),
        "error_then",
        "last_replay",
        "payload",
    )
    readonly_fields = (
        "refusal",
        "of_device",
        "tenant",
        "kind",
        "received_at",
        "replayed",
        "error_then",
        "last_replay",
    )

    warn_unsaved_form = True

    class Media:
        js = (
            Script("monitoring/live.js", type="module"),
            Script("ingest/replay.js", type="module"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedMessage]:
        return super().get_queryset(request).select_related("device", "tenant")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RejectedMessage], search_term: str
    ) -> tuple[QuerySet[RejectedMessage], bool]:
        """Each word must be in the error or a name of the device. Searches devices once, not once
        for each of their messages."""
        for word in search_smart_split(search_term):  # type: ignore[arg-type]
            named = Device.objects.filter(search_text__finds=word)
            queryset = queryset.filter(Q(error__icontains=word) | Q(device__in=named))
        return queryset, False

    @display(description="reason", ordering="reason")
    def refusal(self, message: RejectedMessage) -> SafeString:
        return format_html(
            '<span class="rc-state" data-state="{}"><span class="rc-state__word">{}</span></span>',
            "replayed" if message.replayed_at else message.reason,
            message.get_reason_display(),
        )

    @display(description="device", ordering="device__device_id")
    def of_device(self, message: RejectedMessage) -> str:
        if message.device:
            return message.device.device_id
        return f"deleted device {name_in(message.payload) or ''}".rstrip()

    @display(description="error")
    def error_then(self, message: RejectedMessage) -> str:
        """A correction is not checked before its replay, so the error is from before it."""
        was_corrected = message.reason == RejectedMessage.Reason.CORRECTED
        return f"before it was corrected: {message.error}" if was_corrected else message.error

    @display(description="error")
    def why(self, message: RejectedMessage) -> SafeString:
        words = self.error_then(message)
        return format_html('<span class="rc-why" title="{0}">{0}</span>', words)

    @display(description="replayed", ordering="replayed_at")
    def replayed(self, message: RejectedMessage) -> SafeString:
        if message.replayed_at is None:
            return format_html('<span class="key">{}</span>', _waiting(message))
        return format_html(
            '<span class="key key--in-force">{}</span><span class="rc-second">by {}</span>',
            localize(message.replayed_at),
            message.replayed_by,
        )

    @display(description="last replay")
    def last_replay(self, message: RejectedMessage) -> str:
        failed = f"failed on {localize(message.replay_failed_at)}: {message.replay_error}"
        if not message.replay_failures:
            return failed
        tried = f"Tried {message.replay_failures} time{pluralize(message.replay_failures)}"
        if message.replay_failures >= MOST_FAILURES:
            return f"{failed}. {tried}; {STOPPED}"
        again = localize(message.replay_due_at) if message.replay_due_at else "within seconds"
        return f"{failed}. {tried}; next try: {again}."

    def get_fields(self, request: HttpRequest, obj: RejectedMessage | None = None) -> list[Any]:
        """Leaves out the last replay unless it failed."""
        failed = obj is not None and obj.replay_failed_at is not None
        return [one for one in self.fields if failed or one != "last_replay"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A message that is stored can no longer be edited."""
        waiting = obj is None or obj.replayed_at is None
        return waiting and super().has_change_permission(request, obj)

    def has_replay_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """True even if the message was replayed meanwhile: then a warning says so."""
        if object_id is None:
            return self.has_change_permission(request)
        message = self.get_object(request, object_id)
        return message is not None and super().has_change_permission(request, message)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return list(self.readonly_fields)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        message = self.get_object(request, object_id)
        waits = message is not None and self.has_change_permission(request, message)
        return self._get_base_actions_detail() if waits else []

    def get_actions_submit_line(self, request: HttpRequest, object_id: str) -> list[UnfoldAction]:
        """Returns no actions: render_change_form adds them, because it has the message."""
        return []

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        message = context["original"]
        if message is not None and self.has_change_permission(request, message):
            context["actions_submit_line"] = self._get_base_actions_submit_line()
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: RejectedMessage) -> HttpResponse:
        action = self.get_unfold_action("save_and_replay").action_name
        if action in request.POST:
            return self.save_and_replay(request, obj)
        return super().response_change(request, obj)

    def save_model(
        self, request: HttpRequest, obj: RejectedMessage, form: Any, change: bool
    ) -> None:
        """Reloads the message, so that later texts about it are up to date."""
        if not form.has_changed():
            return
        if not rejected_edit(message=obj, payload=form.cleaned_data["payload"]):
            messages.error(request, "The message was replayed meanwhile; nothing was changed.")
        obj.refresh_from_db()

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> str:
        """Includes the old payload, so that the original is never lost."""
        if not form.has_changed():
            return super().construct_change_message(request, form, formsets, add)
        return f"Edited the payload, before: {form.initial['payload']}"

    @action(description="Replay…", permissions=["replay"])
    def replay_selected(
        self, request: HttpRequest, queryset: QuerySet[RejectedMessage]
    ) -> HttpResponse | None:
        chosen = choice_of(request, queryset)
        if chosen is None:
            return None
        if not chosen.is_confirmed:
            return self.ask(request, chosen.question("Replay", lead=ABOUT_REPLAYS))
        self._replay(request, chosen.ids)
        return None

    @action(
        description="Replay",
        permissions=["replay"],
        icon="replay",
        variant=ActionVariant.PRIMARY,
    )
    def replay(self, request: HttpRequest, object_id: str) -> HttpResponse:
        message = get_object_or_404(self.get_queryset(request), pk=object_id)
        back = self._page_of(message)
        if request.method == "POST":
            self._replay(request, [message.pk])
            return HttpResponseRedirect(back)
        question = Question(
            title=f"Replay a {message.kind} of {self.of_device(message)}",
            lead=ABOUT_REPLAY,
            submit="Replay",
            back=back,
            about=message,
        )
        return self.ask(request, question)

    @action(description="Save and replay", permissions=["replay"], icon="replay")
    def save_and_replay(self, request: HttpRequest, message: RejectedMessage) -> HttpResponse:
        """Replays the message that was just saved; its page then shows the result."""
        self._replay(request, [message.pk])
        return HttpResponseRedirect(self._page_of(message))

    def _page_of(self, message: RejectedMessage) -> str:
        return reverse("admin:ingest_rejectedmessage_change", args=(message.pk,))

    def _replay(self, request: HttpRequest, ids: Sequence[int]) -> None:
        wanted = replay_request(ids=ids, by=request.user.get_username())
        for start in range(0, len(wanted.asked), LOGGED_AT_ONCE):
            part = wanted.asked[start : start + LOGGED_AT_ONCE]
            rows = RejectedMessage.objects.filter(pk__in=part).defer("payload")
            changes_log(request, list(rows), "Requested a replay.")
        if wanted.asked:
            messages.success(request, f"Replaying {_count(len(wanted.asked))}.")
        for by, count in wanted.under_way.items():
            messages.warning(request, f"{_count(count)} already being replayed for {by}.")
        for by, count in wanted.replayed.items():
            messages.warning(request, f"{_count(count)} already replayed by {by}.")

    def get_urls(self) -> list[URLPattern]:
        """Adds the ledger, whose rows have no pages of their own."""
        view = self.admin_site.admin_view
        return [
            path("ledger/", view(self.ledger), name="ingest_ledger"),
            path("ledger/figures/", view(self.ledger_figures), name="ingest_ledger_figures"),
            *super().get_urls(),
        ]

    def ledger(self, request: HttpRequest) -> HttpResponse:
        """What became of the messages from the last hour and day."""
        self._check_view(request)
        context = {
            **self.admin_site.each_context(request),
            **ledger_context(request),
            "title": "Ledger",
            "media": self.media,
        }
        return TemplateResponse(request, "admin/ingest/ledger.html", context)

    def ledger_figures(self, request: HttpRequest) -> HttpResponse:
        self._check_view(request)
        return TemplateResponse(
            request, "admin/ingest/ledger_figures.html", ledger_context(request)
        )

    def _check_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


class SinceFilter(RadioFilter):
    """Filters by the time of the last refusal."""

    title = "when"
    parameter_name = "since"
    spans = {
        "hour": ("the last hour", timedelta(hours=1)),
        "day": ("the last day", timedelta(days=1)),
        "week": ("the last week", timedelta(weeks=1)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (chosen := self.spans.get(self.value() or "")) is None:
            return queryset
        return queryset.filter(last_at__gte=timezone.now() - chosen[1])


@admin.register(Refusal)
class RefusalAdmin(ScopedAdmin):
    """Whose messages were refused, and why. Read-only."""

    list_display = ("refusal", "of_device", "tenant", "refused", "when", "why")
    list_display_links = ("refusal",)
    list_filter = (
        ("code", ChoicesCheckboxFilter),
        SinceFilter,
        ("tenant", AutocompleteSelectFilter),
        ("device", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_before_template = "admin/ingest/about_refused.html"
    list_fullwidth = True
    list_per_page = PER_PAGE
    list_max_show_all = PER_PAGE
    show_full_result_count = False
    search_fields = ("device__device_id", "device__name", "field")
    search_help_text = "Device or field"
    empty_help = "Nothing was refused: every message was valid, and no limit was hit."
    actions = None
    fields = (("refusal", "of_device", "tenant"), ("refused", "when"), "why", "sample_shown")
    readonly_fields = ("refusal", "of_device", "refused", "when", "why", "sample_shown")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refusal]:
        return super().get_queryset(request).select_related("device", "tenant")

    @display(description="reason", ordering="code")
    def refusal(self, refusal: Refusal) -> SafeString:
        return format_html(
            '<span class="rc-state" data-state="{}"><span class="rc-state__word">{}</span></span>',
            refusal.code,
            refusal.get_code_display(),
        )

    @display(description="device", ordering="device__device_id")
    def of_device(self, refusal: Refusal) -> str:
        if refusal.device:
            return refusal.device.device_id
        return "all devices" if refusal.code == Refusal.Code.BACKLOG else "no known device"

    @display(description="refused", ordering="count")
    def refused(self, refusal: Refusal) -> str:
        return f"{refusal.count:,}"

    @display(description="when", ordering="minute")
    def when(self, refusal: Refusal) -> str:
        """The first and the last refusal are in the same minute, so on the same day."""
        first, last = f"{refusal.first_at:%H:%M:%S}", f"{refusal.last_at:%H:%M:%S}"
        until = "" if first == last else f" – {last}"
        return f"{refusal.first_at:%Y-%m-%d} {first}{until} UTC"

    @display(description="why")
    def why(self, refusal: Refusal) -> SafeString:
        words = refusal_words(refusal)
        return format_html('<span class="rc-why" title="{0}">{0}</span>', words)

    @display(description="sample")
    def sample_shown(self, refusal: Refusal) -> SafeString | str:
        if not refusal.sample:
            return "none: the message was not read"
        return format_html('<pre class="rc-sample">{}</pre>', laid_out(refusal.sample))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def get_urls(self) -> list[URLPattern]:
        """Adds the unknown keys, which belong to no tenant."""
        view = self.admin_site.admin_view(self.unknown_keys)
        return [path("unknown-keys/", view, name="ingest_unknown_keys"), *super().get_urls()]

    def unknown_keys(self, request: HttpRequest) -> HttpResponse:
        """The unknown keys that were tried most often; for operators."""
        if not access_in(request).is_operator:
            raise PermissionDenied
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Unknown keys",
            "media": self.media,
        }
        try:
            context["keys"] = unknown_keys()
        except RedisError:
            context["unavailable"] = True
        return TemplateResponse(request, "admin/ingest/unknown_keys.html", context)


def laid_out(payload: str) -> str:
    """JSON over several lines; anything else unchanged."""
    try:
        return msgspec.json.format(payload, indent=2)
    except msgspec.DecodeError:
        return payload


def _count(messages: int) -> str:
    return f"{messages:,} message{pluralize(messages)}"


def _waiting(message: RejectedMessage) -> str:
    """What a message that is not stored waits for, or when its replay failed."""
    if due_at := message.replay_due_at:
        return f"next try {localize(due_at)}"
    if message.replay_failures >= MOST_FAILURES:
        return f"no more tries after {message.replay_failures}"
    if asked := message.replay_requested_by:
        return f"replay requested by {asked}"
    if failed_at := message.replay_failed_at:
        return f"failed {localize(failed_at)}"
    return "waiting"
