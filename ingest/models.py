"""The ledger, rejected messages, and messages that the door refused."""

from django.db import models
from django.db.models import Q

from devices.models import Device, Tenant


class LedgerMinute(models.Model):
    """Messages from a tenant by the minute in which they were accepted, one row per shard.

    accepted = stored + joined + duplicate + conflict + rejected + in flight: one column for each
    message. `stored` are messages with a row of their own; `joined` ones added something to such a
    row; of a `conflict`, another value was stored. `late` counts stored and joined messages that
    were old when they arrived; `replayed` counts messages that a replay moved out of `rejected` or
    `conflict`.
    """

    pk = models.CompositePrimaryKey("tenant", "minute", "shard")
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    minute = models.DateTimeField()
    shard = models.PositiveSmallIntegerField()
    accepted = models.BigIntegerField(default=0)
    stored = models.BigIntegerField(default=0)
    joined = models.BigIntegerField(default=0)
    duplicate = models.BigIntegerField(default=0)
    conflict = models.BigIntegerField(default=0)
    late = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    replayed = models.BigIntegerField(default=0)

    class Meta:
        db_table = "ingest_ledgerminute"
        indexes = (models.Index(fields=("minute",), name="ledger_minute"),)

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.minute:%Y-%m-%d %H:%M} UTC"


class DrainPosition(models.Model):
    """The last stored entry of a shard's stream, written in the transaction that stored it.

    `identity` names the stream that `entry_id` belongs to: in a different stream, ids start again.
    Every shard that was ever drained has a row, even if INGEST_SHARDS no longer includes it.
    """

    shard = models.PositiveSmallIntegerField(primary_key=True)
    identity = models.CharField(max_length=32)
    entry_id = models.CharField(max_length=40)

    class Meta:
        db_table = "ingest_drainposition"

    def __str__(self) -> str:
        return f"shard {self.shard} at {self.entry_id}"


class RejectedMessage(models.Model):
    """A message that was accepted but could not be stored, or not all of it, kept with the reason.

    `reason` is why the current payload is not stored; a corrected message waits for its replay. The
    payload is text, because jsonb may be unable to hold what caused the rejection. The device may
    be deleted, and that must not touch its messages: a replay locks them while waiting for the
    device's status, so the two would deadlock.
    """

    class Reason(models.TextChoices):
        PENDING_DEVICE = "pending_device", "device is not approved yet"
        UNKNOWN_DEVICE = "unknown_device", "device no longer exists"
        INVALID_DATA = "invalid_data", "the database refused it"
        CONFLICT = "conflict", "another value is stored"
        TOO_WIDE = "too_wide", "too many names in one row"
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
    is_conflict = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Counted in the ledger as a conflict, not as rejected.",
    )
    replayed_at = models.DateTimeField(null=True)
    replayed_by = models.CharField(max_length=150, blank=True)
    replay_requested_by = models.CharField(
        max_length=150,
        blank=True,
        default="",
        db_default="",
        help_text="Who requested a replay; empty: nobody.",
    )
    replay_failed_at = models.DateTimeField(
        null=True, help_text="When the last replay failed; empty: none did."
    )
    replay_error = models.TextField(
        blank=True, default="", db_default="", help_text="Why the last replay failed."
    )
    replay_failures = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often the replay has failed since it was requested."
    )
    replay_due_at = models.DateTimeField(
        null=True, help_text="When a failed replay is tried again; empty: at once."
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


class Refusal(models.Model):
    """Messages of a device that the door refused within one minute, for one reason and field: how
    many, and one of them.

    Without a device, they were of no device that exists, or of all together. `ignored` counts
    values that were left out of messages that were accepted.
    """

    class Code(models.TextChoices):
        TENANT_RATE = "tenant_rate", "tenant's rate"
        DEVICE_RATE = "device_rate", "device's rate"
        BACKLOG = "backlog", "backlog"
        FORBIDDEN = "forbidden", "spoke for another device"
        INVALID = "invalid", "invalid"
        TOO_LARGE = "too_large", "too large"
        UNSUPPORTED = "unsupported", "unsupported type"
        UNKNOWN_DEVICE = "unknown_device", "unknown device"
        IGNORED = "ignored", "value left out"
        REVOKED_KEY = "revoked_key", "revoked key"

    # An upsert uses up an ID even if it only updates.
    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    device = models.ForeignKey(Device, models.CASCADE, null=True, related_name="+", db_index=False)
    code = models.CharField("reason", max_length=14, choices=Code)
    field = models.CharField(
        max_length=80,
        blank=True,
        help_text="The field that is wrong; empty: the whole message, *: several fields.",
    )
    minute = models.DateTimeField()
    reason = models.CharField("why", max_length=400)
    sample = models.TextField(blank=True, help_text="The start of the last of these messages.")
    count = models.BigIntegerField("messages refused")
    first_at = models.DateTimeField("first refusal")
    last_at = models.DateTimeField("last refusal")

    class Meta:
        db_table = "ingest_refusal"
        verbose_name = "refused message"
        verbose_name_plural = "refused messages"
        ordering = ("-minute", "-last_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "device", "minute", "code", "field"),
                nulls_distinct=False,
                name="refusal_once_a_minute",
            ),
        )
        indexes = (
            models.Index(fields=("minute", "id"), name="refusal_minute"),
            models.Index(fields=("device", "minute"), name="refusal_device"),
        )

    def __str__(self) -> str:
        return f"{self.get_code_display()}, {self.minute:%Y-%m-%d %H:%M} UTC"


class LedgerCheck(models.Model):
    """The result of the last ledger check, over all tenants: one row, for `/health`."""

    checked_at = models.DateTimeField()
    residual = models.BigIntegerField()

    class Meta:
        db_table = "ingest_ledgercheck"

    def __str__(self) -> str:
        return f"{self.residual} at {self.checked_at:%Y-%m-%d %H:%M} UTC"
