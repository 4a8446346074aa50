"""What was said: heartbeats, and what follows from them for each device."""

from django.db import models
from django.db.models import Q

from devices.models import Device, Tenant
from telemetry.fields import HypertableTimeField


class PresenceState(models.TextChoices):
    NEW = "new"
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    PAUSED = "paused"


class WithVitals(models.Model):
    """With a column for each of NAMED_VITALS."""

    battery_pct = models.FloatField(null=True)
    rssi_dbm = models.FloatField(null=True)
    uptime_s = models.FloatField(null=True)
    version = models.CharField(max_length=64, null=True)  # noqa: DJ001

    class Meta:
        abstract = True


class Heartbeat(WithVitals):
    """I am alive, with a few vitals. A hypertable, one row a device and 10 seconds.

    `time` is the device's clock in UTC (ours if it sent none), `received_at` is ours; `bucket` is
    `time` cut to 10 s, so that a retry stores nothing twice.
    """

    pk = models.CompositePrimaryKey("device", "bucket")
    device = models.ForeignKey(
        Device, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    bucket = HypertableTimeField(chunk="heartbeat")
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    time = models.DateTimeField()
    received_at = models.DateTimeField()
    address = models.GenericIPAddressField(null=True)
    vitals = models.JSONField(null=True)

    class Meta:
        db_table = "telemetry_heartbeat"

    def __str__(self) -> str:
        return f"{self.device_id} at {self.time}"


class Reading(models.Model):
    """One message of metrics: name to number, text or boolean. A hypertable.

    `time` is the device's clock in UTC (ours if it sent none), `received_at` is ours. A device
    says each thing once: the same `msg_type` at the same `time` is a duplicate.
    """

    pk = models.CompositePrimaryKey("device", "time", "msg_type")
    device = models.ForeignKey(
        Device, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    time = HypertableTimeField(chunk="reading")
    msg_type = models.CharField(max_length=32)
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    received_at = models.DateTimeField()
    seq = models.BigIntegerField(null=True)
    site = models.CharField(max_length=64, null=True)  # noqa: DJ001
    metrics = models.JSONField()

    class Meta:
        db_table = "telemetry_reading"

    def __str__(self) -> str:
        return f"{self.device_id} at {self.time}"


class DeviceStatus(WithVitals):
    """The latest of each device: one row, made by the database together with the device.

    `interval_s` and `grace_s` are what is in force for the device: its own or its tenant's
    default, kept up to date by triggers. `clock_skew_s` is the device's clock minus ours.
    `excused_s` is how much of the present silence does not count as the device was paused. So a
    device is late at last_seen + excused_s + interval_s + grace_s, and later for what it should
    have said in a PresenceBreak. `late_at` is never later than that: it is when a sweep looks next.
    A heartbeat does not move it, since an update that touches no indexed column need not touch the
    indexes. `offline_at` is the same of a device that is late.
    """

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="status")
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    state = models.CharField(max_length=8, choices=PresenceState, default=PresenceState.NEW)
    state_since = models.DateTimeField()
    reason = models.TextField()
    interval_s = models.PositiveIntegerField()
    grace_s = models.PositiveIntegerField()
    excused_s = models.FloatField(default=0)
    late_at = models.DateTimeField(null=True)
    offline_at = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)
    clock_skew_s = models.FloatField(null=True)
    skew_candidate_s = models.FloatField(null=True)
    skew_candidate_at = models.DateTimeField(null=True)
    address = models.GenericIPAddressField(null=True)
    vitals = models.JSONField(null=True)
    last_heartbeat_at = models.DateTimeField(null=True)
    last_reading_at = models.DateTimeField(null=True)
    metrics = models.JSONField(null=True)

    class Meta:
        db_table = "telemetry_devicestatus"
        verbose_name_plural = "device statuses"
        indexes = (
            models.Index(fields=("late_at",), name="status_next_late", condition=Q(state="online")),
            models.Index(
                fields=("offline_at",), name="status_next_offline", condition=Q(state="late")
            ),
            models.Index(fields=("tenant", "state"), name="status_by_state"),
        )

    def __str__(self) -> str:
        return self.state


class PresenceEvent(models.Model):
    """One transition of a device's presence, with its reason in words. A hypertable."""

    pk = models.CompositePrimaryKey("device", "time", "state")
    device = models.ForeignKey(
        Device, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    time = HypertableTimeField(chunk="presenceevent")
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    previous_state = models.CharField(max_length=8, choices=PresenceState)
    state = models.CharField(max_length=8, choices=PresenceState)
    reason = models.TextField()

    class Meta:
        db_table = "telemetry_presenceevent"

    def __str__(self) -> str:
        return f"{self.device_id} {self.previous_state} → {self.state}"


class PresenceBreak(models.Model):
    """Time in which no device could be heard; some of it may be known twice."""

    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        db_table = "telemetry_presencebreak"
        constraints = (
            models.UniqueConstraint(fields=("until", "since"), name="presencebreak_is_known"),
        )

    def __str__(self) -> str:
        return f"{self.since} to {self.until}"


class PresenceSweep(models.Model):
    """When presence was last swept: one row, so that time in which we did not listen is known."""

    swept_at = models.DateTimeField()

    class Meta:
        db_table = "telemetry_presencesweep"

    def __str__(self) -> str:
        return str(self.swept_at)
