"""Refused messages: a device whose messages are refused speaks, so it is not silent."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class RefusedContact(NamedTuple):
    """Messages of a device that were refused, `count` of them, the last at `at` by our clock.

    `reason` is in words, `sample` is what one of them said. If `accepted`, the messages were
    accepted, but without the values that `reason` names.
    """

    device_id: int
    tenant_id: int
    at: datetime
    count: int
    reason: str
    sample: str
    accepted: bool = False


def refused_note(*, contacts: Sequence[RefusedContact], collected_until: datetime) -> None:
    """Keeps what was refused of each device, and until when refusals were collected."""
