"""What the page of a device says about its names: its aliases, and the past of a deleted device
with the same ID."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.options import BaseModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldBooleanWidget

from devices.admin.base import KeepsTenant, Question
from devices.fleet.aliases import alias_remove
from devices.fleet.past import Past, past_of, past_take_up
from devices.models import Device

ASKED_ABOUT = "take_up_past_of"


class PastWidget(UnfoldBooleanWidget):
    """A checkbox that also sends the device ID it was shown for: a box that is not ticked sends
    nothing, as one that was not shown."""

    device_id = ""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        box = super().render(name, value, attrs, renderer)
        return format_html(
            '{}<input type="hidden" name="{}" value="{}">', box, ASKED_ABOUT, self.device_id
        )


class DeviceForm(KeepsTenant, forms.ModelForm):  # type: ignore[type-arg]
    """For devices. A new one asks once whether to take up the past of a deleted one."""

    take_up_past = forms.BooleanField(
        required=False,
        widget=PastWidget,
        help_text="Shows the readings, heartbeats, presence and history of the deleted device as "
        "this device's.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            del self.fields["take_up_past"]
        else:
            self.fields["take_up_past"].widget.device_id = self.data.get("device_id", "")

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        tenant, device_id = cleaned.get("tenant"), cleaned.get("device_id")
        if self.instance.pk or tenant is None or device_id is None:
            return cleaned
        past = past_of(tenant_id=tenant.pk, device_id=device_id)
        if past and self.data.get(ASKED_ABOUT) != device_id:
            self.add_error("take_up_past", _question(past))
        if past is None:
            cleaned["take_up_past"] = False
        return cleaned


class NamesDevices(BaseModelAdmin):  # type: ignore[type-arg]
    """For the admin class of devices."""

    form = DeviceForm
    readonly_fields = ("known_as", "known_as_and_remove")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Adds aliases and the question about the past where there are any."""
        first, *others = super().get_fields(request, obj)
        if obj is None:
            return (first, *(("take_up_past",) if _past_in(request) else ()), *others)
        prefetch_related_objects([obj], "aliases")
        if not obj.aliases.all():
            return (first, *others)
        may_remove = self.has_change_permission(request, obj)
        return (first, "known_as_and_remove" if may_remove else "known_as", *others)

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        if not change and form.cleaned_data.get("take_up_past"):
            past_take_up(device=obj)
        obj.save(force_insert=not change)

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:pk>/aliases/<int:alias_pk>/remove/",
                self.admin_site.admin_view(self.remove_alias),
                name="devices_device_remove_alias",
            ),
            *super().get_urls(),  # type: ignore[misc]
        ]

    @display(description="also known as")
    def known_as(self, device: Device) -> str:
        return ", ".join(one.alias for one in device.aliases.all())

    @display(description="also known as")
    def known_as_and_remove(self, device: Device) -> SafeString:
        """Each alias, with a link that removes it."""
        return format_html_join(
            " ",
            '<span class="rc-difference">{} <a class="rc-link" href="{}">Remove…</a></span>',
            (
                (
                    one.alias,
                    reverse("admin:devices_device_remove_alias", args=(device.pk, one.pk)),
                )
                for one in device.aliases.all()
            ),
        )

    def remove_alias(self, request: HttpRequest, pk: int, alias_pk: int) -> HttpResponse:
        device = get_object_or_404(self.get_queryset(request), pk=pk)
        alias = get_object_or_404(device.aliases, pk=alias_pk)
        if not self.has_change_permission(request, device):
            raise PermissionDenied
        back = reverse("admin:devices_device_change", args=(device.pk,))
        if request.method == "POST":
            if alias_remove(device=device, alias=alias.alias):
                messages.success(request, f"{alias} is no longer an alias of {device}.")
            return HttpResponseRedirect(back)
        question = Question(
            title=f"Remove the alias {alias}",
            lead=f"Within 30 seconds, messages that call it {alias} no longer belong to {device}, "
            f"and a different device may get this ID. {device} itself keeps everything it sent.",
            submit="Remove",
            back=back,
            about=device,
            is_danger=True,
        )
        answer: HttpResponse = self.ask(request, question)  # type: ignore[attr-defined]
        return answer


def _past_in(request: HttpRequest) -> Past | None:
    """The past that a device could take up if it were added as the request says."""
    tenant, device_id = request.POST.get("tenant", ""), request.POST.get("device_id", "")
    if not (tenant.isascii() and tenant.isdigit() and len(tenant) <= 9) or "\0" in device_id:
        return None
    return past_of(tenant_id=int(tenant), device_id=device_id)


def _question(past: Past) -> str:
    return (
        f"A device with the ID {past.device_id}, added on {localize(past.added_at)}, was deleted "
        f"on {localize(past.deleted_at)}. Tick this to take up its past, or save again to begin "
        "without one."
    )
