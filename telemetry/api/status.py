"""`/api/v1/devices/<device_id>/status`: a device's latest status, and why it is in that state."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from devices.api.base.lookup import device_in_path
from devices.api.base.viewset import TenantViewSet
from devices.models import Device
from telemetry.models import DeviceStatus, LastRefusal, PresenceState
from telemetry.vitals import NAMES


class RefusalSerializer(serializers.ModelSerializer[LastRefusal]):
    """What was last refused of the device: messages or, if `accepted`, values in accepted ones."""

    at = serializers.DateTimeField(read_only=True, help_text="When the latest came, by our clock.")
    since = serializers.DateTimeField(read_only=True, help_text="When the first of them came.")
    count = serializers.IntegerField(read_only=True, help_text="How many came since then.")
    reason = serializers.CharField(read_only=True, help_text="Why the latest was refused, as text.")
    sample = serializers.CharField(read_only=True, help_text="What the device sent, shortened.")

    class Meta:
        model = LastRefusal
        fields = ("at", "since", "count", "reason", "sample")
        read_only_fields = fields

    def __init__(self, *args: Any, accepted: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._accepted = accepted

    def get_attribute(self, instance: Any) -> LastRefusal | None:
        refusals = instance.device.refusals.all()
        return next((one for one in refusals if one.accepted is self._accepted), None)


class StatusSerializer(serializers.ModelSerializer[DeviceStatus]):
    tenant = serializers.CharField(source="tenant.slug", read_only=True)
    device_id = serializers.CharField(source="device.device_id", read_only=True)
    state = serializers.ChoiceField(choices=PresenceState.choices, read_only=True)
    since = serializers.DateTimeField(
        source="state_since", read_only=True, help_text="When the device entered this state."
    )
    reason = serializers.CharField(read_only=True, help_text="Why the device is in this state.")
    paused_until = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="When the pause ends; null if the device is not paused, or until it is resumed.",
    )
    last_refused = RefusalSerializer(
        read_only=True,
        allow_null=True,
        help_text="The latest refused message, and how many there were since the last accepted "
        "one. It is over if `at` is before `last_seen`. Null if none was ever refused.",
    )
    last_ignored = RefusalSerializer(
        accepted=True,
        read_only=True,
        allow_null=True,
        help_text="The latest values that were left out of an accepted message, and how often "
        "since a day without any. Null if none ever were.",
    )
    clock_skew_s = serializers.FloatField(
        read_only=True, allow_null=True, help_text="The device's clock minus ours."
    )
    vitals = serializers.DictField(read_only=True, allow_null=True, help_text="All other vitals.")
    metrics = serializers.DictField(
        read_only=True, allow_null=True, help_text="The metrics of the latest reading."
    )

    class Meta:
        model = DeviceStatus
        fields = (
            "tenant",
            "device_id",
            "state",
            "since",
            "reason",
            "interval_s",
            "grace_s",
            "paused_until",
            "last_seen",
            "last_refused",
            "last_ignored",
            "clock_skew_s",
            *NAMES,
            "address",
            "vitals",
            "last_reading_at",
            "metrics",
        )
        read_only_fields = fields


class StatusViewSet(TenantViewSet):
    """The latest status of a device: state and reason, vitals, metrics and clock skew."""

    serializer_class = StatusSerializer
    problems = {"retrieve": (409,)}

    def get_queryset(self) -> QuerySet[DeviceStatus]:
        return DeviceStatus.objects.all()

    def named(self, queryset: QuerySet[Any]) -> DeviceStatus:
        device = device_in_path(self, _devices())
        return device.status


def _devices() -> QuerySet[Device]:
    return Device.objects.select_related("tenant", "status").prefetch_related("refusals")
