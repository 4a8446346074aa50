"""Messages from devices, and the status and presence derived from them."""

from django.db import models
from django.db.models import Q

from devices.models import Device, Tenant
from telemetry.fields import HypertableTimeField


class PresenceState(models.TextChoices):
    NEW = "new"
    ONLINE = "online"
    REFUSED = "refused"
    LATE = "late"
    OFFLINE = "offline"
    PAUSED = "paused"


class WithVitals(models.Model):
    """Adds a column for each vital in NAMED_VITALS."""

    battery_pct = models.FloatField(null=True)
    rssi_dbm = models.FloatField(null=True)
    uptime_s = models.FloatField(null=True)
    version = models.CharField(max_length=64, null=True)  # noqa: DJ001

    class Meta:
        abstract = True


class Heartbeat(WithVitals):
    """A device says "I am alive", with a few vitals. A hypertable: one row per device every 10 s.

    `time` is the device's clock in UTC (ours if it sent none), `received_at` is our clock. `bucket`
    is `time` rounded down to 10 s, so a retry stores no second row.
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
    """One message with metrics, which map names to numbers, text or booleans. A hypertable.

    `time` is the device's clock in UTC (ours if it sent none), `received_at` is our clock. A second
    message from a device with the same `time` and `msg_type` is a duplicate.
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
    """The latest status of each device: one row, created by a trigger together with the device.

    `interval_s` and `grace_s` are the values in force: the device's own or its tenant's defaults,
    kept up to date by triggers. `clock_skew_s` is the device's clock minus ours. `excused_s` is how
    much of the current silence does not count because the device was paused.

    A device is late at last_seen + excused_s + interval_s + grace_s, and later still if a message
    was due in a PresenceBreak. `late_at` is when the sweep next looks, never later than that.
    A heartbeat does not change it: an update that changes no indexed column touches no index.
    `offline_at` is the same for a device that is late. A device whose messages are refused is
    `refused` as long as its LastRefusal is newer than last_seen and not silent as well.

    `expectation_changed_at` is set by the triggers until a sweep has judged the device by its new
    interval and grace. `paused_until` is when a pause ends; null if it has no end.
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
    expectation_changed_at = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True)
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
            models.Index(
                fields=("late_at",),
                name="status_next_late",
                condition=Q(state__in=("online", "refused")),
            ),
            models.Index(
                fields=("offline_at",), name="status_next_offline", condition=Q(state="late")
            ),
            models.Index(
                fields=("expectation_changed_at",),
                name="status_to_judge_again",
                condition=Q(expectation_changed_at__isnull=False),
            ),
            models.Index(
                fields=("paused_until",),
                name="status_pause_ends",
                condition=Q(paused_until__isnull=False),
            ),
            models.Index(fields=("tenant", "state"), name="status_by_state"),
        )

    def __str__(self) -> str:
        return self.state


class LastRefusal(models.Model):
    """What was refused of a device: the latest refusal, and how many there were since when.

    `accepted` is false for messages that were refused: counted since the last accepted message. It
    is true for values that were left out of accepted messages: counted as long as they come at
    least once a day. Not part of DeviceStatus, because each message rewrites that row.
    """

    pk = models.CompositePrimaryKey("device", "accepted")
    # The foreign key in the database deletes the row with its device (migration 0007).
    device = models.ForeignKey(
        Device, models.DO_NOTHING, related_name="refusals", db_constraint=False, db_index=False
    )
    accepted = models.BooleanField()
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    at = models.DateTimeField()
    since = models.DateTimeField()
    count = models.BigIntegerField()
    reason = models.TextField()
    sample = models.TextField()

    class Meta:
        db_table = "telemetry_lastrefusal"

    def __str__(self) -> str:
        return self.reason


class PresenceEvent(models.Model):
    """One transition of a device's presence, with its reason as text. A hypertable."""

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
    """A period in which no server listened to devices. Rows may overlap."""

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
    """When presence was last swept: one row. A long gap before a sweep means nobody listened.

    Every refused message up to `refusals_until` is in LastRefusal; null if none was ever collected.
    """

    swept_at = models.DateTimeField()
    refusals_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "telemetry_presencesweep"

    def __str__(self) -> str:
        return str(self.swept_at)
