from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

ABOUT_BURST = (
    "Messages that may come at once. A larger batch passes if nothing came for a while, and has to "
    "be waited for afterwards. Empty: what may come in one second."
)
FIELDS = (
    ("device", "burst"),
    ("deviceevent", "burst"),
    ("tenant", "burst"),
    ("tenantevent", "burst"),
    ("tenant", "device_burst"),
    ("tenantevent", "device_burst"),
)


def _burst(**named: Any) -> "models.PositiveIntegerField[int | None, int | None]":
    return models.PositiveIntegerField(
        blank=True,
        help_text=ABOUT_BURST,
        null=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000_000)],
        **named,
    )


class Migration(migrations.Migration):
    dependencies = (("devices", "0034_scope_planned_sooner"),)
    operations = tuple(
        migrations.AlterField(
            model,
            field,
            _burst(verbose_name="burst of a device") if field == "device_burst" else _burst(),
        )
        for model, field in FIELDS
    )
