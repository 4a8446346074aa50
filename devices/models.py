"""Tenants, their people, sites and devices, and the keys with which devices send."""

from datetime import datetime

from axes.models import AccessAttempt
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from devices.tracking import tracked

# Also a level of an MQTT topic, so without "/", "+" and "#".
device_id_validator = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}\Z",
    "Use 1 to 64 letters, digits and . _ : @ - and begin with a letter or a digit.",
)
interval_validators = [MinValueValidator(1), MaxValueValidator(366 * 86_400)]
grace_validators = [MinValueValidator(0), MaxValueValidator(7 * 86_400)]
rate_validators = [MinValueValidator(0.001), MaxValueValidator(1_000_000)]
burst_validators = [MinValueValidator(1), MaxValueValidator(10_000_000)]
ABOUT_BURST = (
    "How many messages may arrive at once before the limit slows the device down. "
    "Empty: as many as may arrive in one second."
)


def check(*problems: dict[str, str]) -> None:
    """Raises ValidationError if there are any problems (error messages by field)."""
    if found := {name: words for problem in problems for name, words in problem.items()}:
        raise ValidationError(found)


def foreign_choice(row: models.Model, name: str) -> dict[str, str]:
    """An error if the field refers to a row that belongs to a different tenant; else empty."""
    chosen = getattr(row, name)
    if chosen is None or chosen.tenant_id == row.tenant_id:  # type: ignore[attr-defined]
        return {}
    return {name: f"This {name} belongs to another tenant."}


def lone_burst(row: models.Model, rate: str, burst: str) -> dict[str, str]:
    """An error if there is a burst without a rate; else empty."""
    if getattr(row, burst) is None or getattr(row, rate) is not None:
        return {}
    return {burst: "A burst needs a rate: set messages a second too, or leave both empty."}


class Registration(models.TextChoices):
    """A tenant's policy for devices that have not been added yet."""

    OFF = "off", "off: refuse its messages"
    PENDING = "pending", "pending: add it, and hold its messages until somebody approves it"
    ON = "on", "on: add it"


@tracked()
class Tenant(models.Model):
    """A customer of this installation; every other row belongs to exactly one tenant."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=63, unique=True, help_text="Used in MQTT topics and URLs.")
    is_active = models.BooleanField(
        "active", default=True, help_text="The devices of an inactive tenant are refused."
    )
    default_interval_s = models.PositiveIntegerField(
        "default interval",
        default=60,
        validators=interval_validators,
        help_text="Seconds between two heartbeats, for devices without an interval of their own.",
    )
    default_grace_s = models.PositiveIntegerField(
        "default grace",
        default=30,
        validators=grace_validators,
        help_text="How many seconds late a heartbeat may be before its device counts as late.",
    )
    registration = models.CharField(
        max_length=8,
        choices=Registration,
        default=Registration.OFF,
        db_default=Registration.OFF,
        help_text="What to do when a gateway speaks for a device that nobody has added.",
    )
    device_limit = models.PositiveIntegerField(
        default=10_000,
        db_default=10_000,
        help_text="At this many devices, no more can add themselves.",
    )
    rate_per_s = models.FloatField(
        "messages a second",
        null=True,
        blank=True,
        validators=rate_validators,
        help_text="For all its devices together, in the long run. Empty: no limit.",
    )
    burst = models.PositiveIntegerField(
        null=True, blank=True, validators=burst_validators, help_text=ABOUT_BURST
    )
    device_rate_per_s = models.FloatField(
        "messages a second per device",
        null=True,
        blank=True,
        validators=rate_validators,
        help_text="For each device without a limit of its own. Empty: no limit.",
    )
    device_burst = models.PositiveIntegerField(
        "burst per device",
        null=True,
        blank=True,
        validators=burst_validators,
        help_text=ABOUT_BURST,
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        bursts = ("rate_per_s", "burst"), ("device_rate_per_s", "device_burst")
        check(*(lone_burst(self, rate, burst) for rate, burst in bursts))


@tracked()
class Membership(models.Model):
    """A person's role in a tenant."""

    class Role(models.TextChoices):
        VIEWER = "viewer"
        MANAGER = "manager"
        OWNER = "owner"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "user"), name="membership_once_a_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.user}, {self.role} of {self.tenant}"


@tracked(exclude=("token_sha256",))
class Invitation(models.Model):
    """An e-mailed invitation to join a tenant.

    Its link contains a token, of which only a hash is stored (devices.people.invitations).
    """

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+")
    email = models.EmailField("e-mail", help_text="Where the link is sent.")
    role = models.CharField(max_length=8, choices=Membership.Role, default=Membership.Role.VIEWER)
    token_sha256 = models.BinaryField(max_length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField("expires", editable=False)
    accepted_at = models.DateTimeField("accepted", null=True, blank=True, editable=False)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "email"),
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once",
                violation_error_message="This address is already invited: send that invitation "
                "again, or revoke it first.",
            ),
        )

    def __str__(self) -> str:
        return self.email


@tracked()
class Site(models.Model):
    """A place where devices are installed."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="sites")
    name = models.CharField(max_length=120)
    latitude_deg = models.FloatField(
        "latitude",
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )
    longitude_deg = models.FloatField(
        "longitude",
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="site_name_once_a_tenant"),
        )

    def __str__(self) -> str:
        return self.name


@tracked()
class DeviceGroup(models.Model):
    """Devices that are viewed together, regardless of their site."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="device_groups")
    name = models.CharField(max_length=120)
    description = models.CharField(
        max_length=500, blank=True, help_text="What its devices have in common. Optional."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "group"
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="group_name_once_a_tenant"),
        )

    def __str__(self) -> str:
        return self.name


@tracked()
class Device(models.Model):
    """Something that sends messages. `device_id` is the name it uses for itself, unique within
    its tenant; `id` is our primary key."""

    class Kind(models.TextChoices):
        PHONE = "phone"
        PROBE = "probe"
        GATEWAY = "gateway"
        SENSOR = "sensor"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="devices")
    device_id = models.CharField("device ID", max_length=64, validators=[device_id_validator])
    name = models.CharField(max_length=120, blank=True, help_text="What people call it.")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.SENSOR)
    site = models.ForeignKey(Site, models.SET_NULL, null=True, blank=True, related_name="devices")
    group = models.ForeignKey(
        DeviceGroup, models.SET_NULL, null=True, blank=True, related_name="devices"
    )
    expected_interval_s = models.PositiveIntegerField(
        "expected interval",
        null=True,
        blank=True,
        validators=interval_validators,
        help_text="Seconds between two heartbeats. Empty: the tenant's default.",
    )
    grace_s = models.PositiveIntegerField(
        "grace",
        null=True,
        blank=True,
        validators=grace_validators,
        help_text="How many seconds late a heartbeat may be. Empty: the tenant's default.",
    )
    rate_per_s = models.FloatField(
        "messages a second",
        null=True,
        blank=True,
        validators=rate_validators,
        help_text="In the long run. Empty: the tenant's limit per device.",
    )
    burst = models.PositiveIntegerField(
        null=True, blank=True, validators=burst_validators, help_text=ABOUT_BURST
    )
    is_pending = models.BooleanField(
        "waits for approval",
        default=False,
        db_default=False,
        editable=False,
        help_text="It added itself; its messages are held until somebody approves it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tenant", "device_id")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "device_id"),
                name="device_id_once_a_tenant",
                violation_error_message="This tenant already has a device with this device ID.",
            ),
        )

    def __str__(self) -> str:
        return self.device_id

    def clean(self) -> None:
        check(
            foreign_choice(self, "site"),
            foreign_choice(self, "group"),
            lone_burst(self, "rate_per_s", "burst"),
        )


@tracked(exclude=("secret_sha256", "mqtt_password_hash"), also_by="device")
class Credential(models.Model):
    """The key of a device or, if `device` is empty, of a gateway, which may send messages for
    every device of its tenant. Only a hash of the key is stored; devices.fleet.keys issues and
    checks keys.

    `revoked_at` may be in the future if the key was rotated: the key works until then.
    """

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", editable=False)
    device = models.ForeignKey(
        Device, models.CASCADE, null=True, blank=True, related_name="credentials"
    )
    prefix = models.CharField(
        max_length=12, unique=True, editable=False, help_text="The public part of the key."
    )
    secret_sha256 = models.BinaryField(max_length=32, editable=False)
    mqtt_password_hash = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Hash of the whole key in mosquitto's format; empty for older keys.",
    )
    label = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "key"
        ordering = ("-created_at",)
        indexes = (
            models.Index(
                fields=("device",), name="credential_in_force", condition=Q(revoked_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"rc_{self.prefix}_…"

    def is_in_force(self, *, ts: datetime) -> bool:
        """True if the key works right now."""
        return self.revoked_at is None or self.revoked_at > ts


class EnrolmentToken(models.Model):
    """Lets up to `max_uses` devices add themselves to a tenant until it expires; each gets a key.

    Only a hash of the token is stored; devices.fleet.enrolment issues and checks tokens.
    """

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+")
    label = models.CharField(
        max_length=120, blank=True, help_text="What the token is for. Only staff see it."
    )
    prefix = models.CharField(
        max_length=12, unique=True, editable=False, help_text="The public part of the token."
    )
    secret_sha256 = models.BinaryField(max_length=32, editable=False)
    max_uses = models.PositiveIntegerField(
        "devices",
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="How many devices may enrol with it.",
    )
    uses_left = models.PositiveIntegerField("uses left", editable=False)
    expires_at = models.DateTimeField("expires", help_text="In UTC.")
    site = models.ForeignKey(
        Site,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Where its devices stand. Optional.",
    )
    group = models.ForeignKey(
        DeviceGroup,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The group that its devices join. Optional.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "enrolment token"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"rt_{self.prefix}_…"

    def clean(self) -> None:
        check(foreign_choice(self, "site"), foreign_choice(self, "group"))


class OperatorAccess(models.Model):
    """A request from somebody who can see all tenants: who made it, when, and what it was."""

    # No foreign key constraint, so that the record remains unchanged if the account is deleted.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
    )
    username = models.CharField(max_length=150)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    address = models.GenericIPAddressField(null=True)
    at = models.DateTimeField("when", auto_now_add=True)

    class Meta:
        verbose_name_plural = "operator audit log"
        ordering = ("-id",)
        indexes = (models.Index(fields=("at",), name="operator_access_at"),)

    def __str__(self) -> str:
        return f"{self.username} {self.method} {self.path}"


class FailedSignIn(AccessAttempt):
    """Failed attempts to sign in, as counted by axes: who, from which address, and how often since
    they last succeeded."""

    class Meta:
        proxy = True
        verbose_name = "failed sign-in"

    def __str__(self) -> str:
        return f"{self.username} from {self.ip_address}"


class HistoryEntry(models.Model):
    """A change to something that belongs to a tenant, read from a view over the events of all
    models.

    `number` is the event's number within the subject's model. `data` is the row after the change
    or, if the row was removed, before it.
    """

    class Subject(models.TextChoices):
        DEVICE = "device"
        KEY = "key"
        GROUP = "group"
        SITE = "site"
        INVITATION = "invitation"
        MEMBER = "member"
        TENANT = "tenant"

    class Change(models.TextChoices):
        KNOWN = "known", "existed before"
        INSERT = "insert", "added"
        UPDATE = "update", "changed"
        DELETE = "delete", "removed"

    id = models.TextField(primary_key=True)
    subject = models.CharField(max_length=10, choices=Subject)
    number = models.IntegerField()
    object_id = models.IntegerField()
    object_name = models.TextField()
    of_device = models.IntegerField(null=True)
    tenant = models.ForeignKey(Tenant, models.DO_NOTHING, related_name="+", db_constraint=False)
    change = models.CharField(max_length=8, choices=Change)
    at = models.DateTimeField("when")
    who = models.TextField("person")
    origin = models.JSONField(null=True)
    data = models.JSONField()

    class Meta:
        managed = False
        db_table = "devices_history"
        verbose_name = "change"
        verbose_name_plural = "history"
        ordering = ("-at", "-number")

    def __str__(self) -> str:
        return f"{self.subject} {self.object_name} {self.get_change_display()}"
