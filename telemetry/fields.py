"""Model fields of hypertables."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from timescale.db.models.fields import TimescaleDateTimeField


class HypertableTimeField(TimescaleDateTimeField):
    """The time column by which TimescaleDB cuts a hypertable into chunks.

    `chunk` names an entry of settings.CHUNK_INTERVALS, so an installation can choose a
    different interval without a migration.
    """

    def __init__(self, *args: Any, chunk: str, **kwargs: Any) -> None:
        self.chunk = chunk
        if chunk not in settings.CHUNK_INTERVALS:
            raise ImproperlyConfigured(f"CHUNK_INTERVALS has no interval for {chunk}; add one.")
        super().__init__(*args, interval=settings.CHUNK_INTERVALS[chunk], **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["interval"]
        return name, path, args, kwargs | {"chunk": self.chunk}
