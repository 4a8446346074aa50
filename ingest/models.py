"""What happened at the door: the ledger, rejected messages and limits that were hit."""

from django.db import models
from django.db.models import Q

from devices.models import Device, Tenant


class LedgerMinute(models.Model):
    """Messages of a tenant by the minute in which they were accepted, one row a shard.

    accepted = stored + duplicate + rejected + what is in flight. `late` is how many of the stored
    were old when they came; `replayed` how many of the rejected were stored after all.
    """

    pk = models.CompositePrimaryKey("tenant", "minute", "shard")
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    minute = models.DateTimeField()
    shard = models.PositiveSmallIntegerField()
    accepted = models.BigIntegerField(default=0)
    stored = models.BigIntegerField(default=0)
    duplicate = models.BigIntegerField(default=0)
    late = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    replayed = models.BigIntegerField(default=0)

    class Meta:
        db_table = "ingest_ledgerminute"
        indexes = (models.Index(fields=("minute",), name="ledger_minute"),)

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.minute:%Y-%m-%d %H:%M} UTC"


class DrainPosition(models.Model):
    """Up to which entry a shard's stream is stored, written together with what was stored.

    `identity` names the stream that `entry_id` belongs to: in another one ids begin again. There is
    one of every shard that was ever drained, whether or not INGEST_SHARDS still has it.
    """

    shard = models.PositiveSmallIntegerField(primary_key=True)
    identity = models.CharField(max_length=32)
    entry_id = models.CharField(max_length=40)

    class Meta:
        db_table = "ingest_drainposition"

    def __str__(self) -> str:
        return f"shard {self.shard} at {self.entry_id}"


class RejectedMessage(models.Model):
    """A message that was accepted and could not be stored, kept with the reason in words.

    `reason` is why it is not stored as it stands now; one that was corrected waits for its replay.
    The payload is kept as text, for what jsonb cannot hold may be why it was rejected. The device
    may be one that was deleted, which leaves its messages alone: a replay has them locked while it
    waits for the device's status.
    """

    class Reason(models.TextChoices):
        PENDING_DEVICE = "pending_device", "device is not approved yet"
        UNKNOWN_DEVICE = "unknown_device", "device does not exist any more"
        INVALID_DATA = "invalid_data", "the database refused it"
        CORRECTED = "corrected", "corrected"

    class Kind(models.TextChoices):
        HEARTBEAT = "heartbeat"
        READING = "reading"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+")
    device = models.ForeignKey(
        Device, models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )
    kind = models.CharField(max_length=9, choices=Kind)
    reason = models.CharField(max_length=16, choices=Reason)
    error = models.TextField()
    payload = models.TextField(help_text="The message as JSON.")
    received_at = models.DateTimeField()
    shard = models.PositiveSmallIntegerField()
    replayed_at = models.DateTimeField(null=True)
    replayed_by = models.CharField(max_length=150, blank=True)
    replay_requested_by = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="Empty: nobody waits."
    )
    replay_failed_at = models.DateTimeField(
        null=True, help_text="When its last replay failed; empty: none did."
    )
    replay_error = models.TextField(
        blank=True, default="", db_default="", help_text="Why its last replay failed, in words."
    )
    replay_failures = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often its replay has gone wrong since it was asked."
    )
    replay_due_at = models.DateTimeField(
        null=True, help_text="When a replay that went wrong is tried again; empty: at once."
    )

    class Meta:
        db_table = "ingest_rejectedmessage"
        ordering = ("-id",)
        indexes = (
            models.Index(
                fields=("replay_requested_by",),
                name="rejected_requested",
                condition=~Q(replay_requested_by=""),
            ),
            models.Index(
                fields=("device",),
                name="rejected_held",
                condition=Q(reason="pending_device", replayed_at=None),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}, {self.get_reason_display()}"


class LimitBreach(models.Model):
    """Messages that the door refused within one minute: of whom, how many, and which limit was
    hit, or that a device spoke for another."""

    class Kind(models.TextChoices):
        TENANT_RATE = "tenant_rate", "tenant's rate"
        DEVICE_RATE = "device_rate", "device's rate"
        BACKLOG = "backlog", "backlog"
        FOREIGN_DEVICE = "foreign_device", "spoke for another device"

    # An upsert takes a number even where it only updates.
    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    device = models.ForeignKey(Device, models.CASCADE, null=True, related_name="+")
    kind = models.CharField("reason", max_length=14, choices=Kind)
    minute = models.DateTimeField()
    limit_words = models.CharField("limit in words", max_length=200)
    refused = models.BigIntegerField("messages refused")
    first_at = models.DateTimeField("first refusal")
    last_at = models.DateTimeField("last refusal")

    class Meta:
        db_table = "ingest_limitbreach"
        verbose_name = "refused message"
        verbose_name_plural = "refused messages"
        ordering = ("-minute", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "kind", "device", "minute"),
                nulls_distinct=False,
                name="breach_once_a_minute",
            ),
        )
        indexes = (models.Index(fields=("minute",), name="breach_minute"),)

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.minute:%Y-%m-%d %H:%M} UTC"


class LedgerCheck(models.Model):
    """What the last look at the ledger found, of all tenants: one row, for `/health`."""

    checked_at = models.DateTimeField()
    residual = models.BigIntegerField()

    class Meta:
        db_table = "ingest_ledgercheck"

    def __str__(self) -> str:
        return f"{self.residual} at {self.checked_at:%Y-%m-%d %H:%M} UTC"
