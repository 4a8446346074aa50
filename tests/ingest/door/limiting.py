"""Limits of tenants and devices, and many messages."""

from typing import Any

from ingest.stream import shards
from tests.conftest import Fleet
from tests.ingest.door.test_views_readings import reading


def limit_tenant(fleet: Fleet, per_s: float, burst: int | None = None) -> None:
    fleet.tenant.rate_per_s, fleet.tenant.burst = per_s, burst
    fleet.tenant.save()


def limit_device(fleet: Fleet, per_s: float, burst: int | None = None) -> None:
    fleet.device.rate_per_s, fleet.device.burst = per_s, burst
    fleet.device.save()


def limit_each_device(fleet: Fleet, per_s: float, burst: int | None = None) -> None:
    fleet.tenant.device_rate_per_s, fleet.tenant.device_burst = per_s, burst
    fleet.tenant.save()


def many(count: int, device_id: str | None = None) -> list[dict[str, Any]]:
    return [reading(device_id) for _ in range(count)]


def bucket_keys() -> set[bytes]:
    keys: Any = shards.connection().keys("ingest:{limits*")
    return set(keys)
