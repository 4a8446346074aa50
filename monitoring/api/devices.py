"""`/api/v1/devices`: devices with their current state."""

from datetime import datetime
from typing import Any

from django.db.models import F, QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.bodies import ModelBody, StrictBody
from devices.api.base.fields import (
    ChoicesFilter,
    IdFilter,
    RowId,
    TenantFilter,
    TenantSlug,
    YesNoFilter,
)
from devices.api.base.lookup import device_in_path, row_in_path
from devices.api.base.queries import parameters_check
from devices.api.base.viewset import TenantViewSet
from devices.fleet.registration import devices_approve
from devices.models import Device
from telemetry.models import PresenceState
from telemetry.presence.pausing import presence_pause, presence_resume

SETTINGS = (
    "name",
    "kind",
    "site",
    "group",
    "expected_interval_s",
    "grace_s",
    "rate_per_s",
    "burst",
)


class DeviceFilter(TenantFilter):
    state = ChoicesFilter(field_name="status__state", choices=PresenceState.choices)
    kind = ChoicesFilter(choices=Device.Kind.choices)
    site = IdFilter("site_id")
    group = IdFilter("group_id")
    pending = YesNoFilter("is_pending")


class DeviceSerializer(serializers.ModelSerializer[Device]):
    id = serializers.IntegerField(
        read_only=True, help_text="Our id of the device, which live messages use."
    )
    tenant = serializers.CharField(source="tenant_slug", read_only=True)
    site = serializers.IntegerField(source="site_id", read_only=True, allow_null=True)
    group = serializers.IntegerField(source="group_id", read_only=True, allow_null=True)
    state = serializers.ChoiceField(choices=PresenceState.choices, read_only=True)
    state_since = serializers.DateTimeField(read_only=True)
    paused_until = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="When the pause ends; null if the device is not paused, or until it is resumed.",
    )

    class Meta:
        model = Device
        fields = (
            "id",
            "tenant",
            "device_id",
            *SETTINGS,
            "is_pending",
            "state",
            "state_since",
            "paused_until",
            "created_at",
        )
        read_only_fields = fields


class DeviceChange(ModelBody):
    """The fields that may be changed: all but the tenant and the `device_id`."""

    site = RowId(help_text="Id of a site of the same tenant, or null.")
    group = RowId(help_text="Id of a group of the same tenant, or null.")

    class Meta:
        model = Device
        fields: tuple[str, ...] = SETTINGS
        validators = ()


class DeviceCreate(DeviceChange):
    tenant = TenantSlug()

    class Meta(DeviceChange.Meta):
        fields = ("tenant", "device_id", *SETTINGS)
        extra_kwargs = {"device_id": {"trim_whitespace": False}}


def _devices() -> QuerySet[Device]:
    """Devices with the fields of their tenant and status that the API shows."""
    return Device.objects.annotate(
        tenant_slug=F("tenant__slug"),
        state=F("status__state"),
        state_since=F("status__state_since"),
        paused_until=F("status__paused_until"),
    )


class Pause(StrictBody, serializers.Serializer[Device]):
    why = serializers.CharField(
        max_length=200, help_text="Shown to everybody who can see the device."
    )
    until = serializers.DateTimeField(
        required=False,
        allow_null=True,
        help_text="When the pause ends. Null or left out: when somebody resumes the device.",
    )

    def validate_until(self, until: datetime | None) -> datetime | None:
        if until is not None and until <= timezone.now():
            raise serializers.ValidationError("This time has passed; choose a later one.")
        return until


class DeviceViewSet(TenantViewSet):
    """Devices, each addressed by its `device_id`. If several of your tenants have a device with
    that id, add `?tenant=<slug>`."""

    serializer_class = DeviceSerializer
    filterset_class = DeviceFilter
    search_fields = ("device_id", "name", "site__name")
    orders = {
        "device_id": ("tenant_id", "device_id"),
        "name": ("name", "id"),
        "created_at": ("id",),
    }
    inputs = {"create": DeviceCreate, "partial_update": DeviceChange, "pause": Pause}
    problems = {
        "create": (404, 409),
        "retrieve": (409,),
        "partial_update": (409,),
        "destroy": (409,),
        "approve": (409,),
        "pause": (409,),
        "resume": (409,),
    }

    def get_queryset(self) -> QuerySet[Device]:
        return _devices()

    def retrieve(self, request: Request, **names: Any) -> Response:
        parameters_check(request, ())
        return self.answered(row_in_path(self, _devices))

    def named(self, queryset: QuerySet[Device]) -> Device:
        return device_in_path(self, queryset)

    def create(self, request: Request) -> Response:
        given = self.body()
        tenant = self.tenant_for(given.pop("tenant", None))
        self.refer(given, tenant)
        device = self.saved(Device(tenant=tenant, **given))
        return self.added(self.reread(device), device.device_id)

    def partial_update(self, request: Request, **names: Any) -> Response:
        device: Device = self.found()
        given = self.body()
        self.refer(given, device.tenant)
        self.saved(self.changed(device, given))
        return self.answered(self.reread(device))

    def destroy(self, request: Request, **names: Any) -> Response:
        """Deletes the device and its keys. Its readings and heartbeats stay until they expire."""
        self.found().delete()
        return Response(status=204)

    def approve(self, request: Request, **names: Any) -> Response:
        """Approves a device that registered itself. Its held messages are stored within seconds."""
        device: Device = self.found()
        devices_approve(ids=[device.pk])
        return self.answered(self.reread(device))

    def pause(self, request: Request, **names: Any) -> Response:
        """Pauses the device: it never becomes refused, late or offline. Its messages are still
        stored. If it is paused already, the reason and the end are replaced."""
        device: Device = self.found()
        given = self.body()
        presence_pause(
            device_ids=[device.pk],
            by=request.user.get_username(),
            why=given["why"],
            until=given.get("until"),
            ts=timezone.now(),
        )
        return self.answered(self.reread(device))

    def resume(self, request: Request, **names: Any) -> Response:
        """Ends the pause: the device becomes late again if no message arrives in time."""
        device: Device = self.found()
        presence_resume(device_ids=[device.pk], by=request.user.get_username(), ts=timezone.now())
        return self.answered(self.reread(device))
