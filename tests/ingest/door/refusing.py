"""What was refused, once it is collected."""

from typing import Any

from django.utils import timezone

from ingest.door.refusal_rows import refusals_collect
from ingest.door.refusals import refusals_flush
from ingest.models import Refusal
from ingest.stream import shards
from scripts.waiting import await_condition
from tests.conftest import Fleet
from tests.waits import LIMIT_S


def collect() -> None:
    """What this process has counted is in the table afterwards."""
    refusals_flush()
    refusals_collect()


def rows() -> list[Refusal]:
    collect()
    order = ("tenant_id", "device_id", "code", "field", "minute")
    return list(Refusal.objects.select_related("device").order_by(*order))


def found() -> list[tuple[str | None, str, str, int]]:
    """(device, code, field, count) of each row."""
    return [
        (one.device.device_id if one.device else None, one.code, one.field, one.count)
        for one in rows()
    ]


def refusal_add(fleet: Fleet, code: Refusal.Code, **fields: Any) -> Refusal:
    at = timezone.now()
    values: dict[str, Any] = {
        "minute": at.replace(second=0, microsecond=0),
        "reason": "`battery_pct` 255: expected at most 100",
        "field": "battery_pct",
        "sample": '{"battery_pct": 255}',
        "count": 7,
        "first_at": at,
        "last_at": at,
    }
    return Refusal.objects.create(tenant=fleet.tenant, code=code, **(values | fields))


def await_early_in_a_minute() -> None:
    """Waits if necessary, so that a test runs within one minute of Valkey's time."""
    client: Any = shards.connection()
    await_condition(lambda: client.time()[0] % 60 < 55, LIMIT_S, "another minute")
