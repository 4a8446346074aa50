"""Publishes changes of latest status to the people who watch, about once a second a tenant.

A commit may change thousands of devices and there are many commits a second, so the changes of a
tenant are gathered: the first goes out at once, those that follow it go out together after
LIVE_COALESCE_S. Delivery is at most once; a page that missed something asks again by itself.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from redis.exceptions import RedisError

from telemetry.models import DeviceStatus
from telemetry.statuses import StatusChange

log = logging.getLogger(__name__)

OPERATORS = "live.operators"
DEVICES_PER_MESSAGE = 500
ATTEMPTS = 5
RETRY_AFTER_S = 1.0


def tenant_group(tenant_id: int) -> str:
    return f"live.tenant.{tenant_id}"


def change_as_json(change: StatusChange) -> dict[str, Any]:
    """What the websocket sends of a device; times are ISO 8601 in UTC."""
    return {
        "id": change.device_id,
        "state": change.state,
        "state_since": change.state_since.isoformat(),
        "reason": change.reason,
        "last_seen": change.last_seen.isoformat() if change.last_seen else None,
        "battery_pct": change.battery_pct,
    }


def status_as_change(status: DeviceStatus) -> StatusChange:
    return StatusChange(*(getattr(status, name) for name in StatusChange._fields))


class Publisher:
    """Gathers changes and sends them to the channel layer, on an event loop of its own.

    The senders (Celery's tasks) are synchronous and must not wait for anybody who watches.
    """

    def __init__(self) -> None:
        self._gathered: dict[int, dict[int, StatusChange]] = {}
        self._sending: set[int] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="live", daemon=True).start()

    def publish(self, changes: Sequence[StatusChange]) -> None:
        """Returns at once; the changes are sent within LIVE_COALESCE_S."""
        self._loop.call_soon_threadsafe(self._gather, changes)

    def _gather(self, changes: Sequence[StatusChange]) -> None:
        for change in changes:
            self._gathered.setdefault(change.tenant_id, {})[change.device_id] = change
        for tenant_id in self._gathered.keys() - self._sending:
            self._sending.add(tenant_id)
            self._loop.create_task(self._send_until_quiet(tenant_id))

    async def _send_until_quiet(self, tenant_id: int) -> None:
        try:
            while changes := self._gathered.pop(tenant_id, None):
                await _send_at_last(tenant_id, list(changes.values()))
                await asyncio.sleep(settings.LIVE_COALESCE_S)
        finally:
            self._sending.discard(tenant_id)


async def _send_at_last(tenant_id: int, changes: Sequence[StatusChange]) -> None:
    """Sends, and tries again for a while if Valkey is just starting; then gives up in the log."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _send(tenant_id, changes)
        except (RedisError, OSError) as error:
            log.warning("live changes of tenant %d, attempt %d: %s", tenant_id, attempt, error)
            await asyncio.sleep(RETRY_AFTER_S)


async def _send(tenant_id: int, changes: Sequence[StatusChange]) -> None:
    layer = get_channel_layer()
    assert layer is not None, "CHANNEL_LAYERS stands in settings"
    for part in _parts(changes):
        message = {"type": "devices.changed", "devices": [change_as_json(one) for one in part]}
        for group in (tenant_group(tenant_id), OPERATORS):
            await layer.group_send(group, message)


def _parts(changes: Sequence[StatusChange]) -> Iterator[list[StatusChange]]:
    remaining = iter(changes)
    while part := list(islice(remaining, DEVICES_PER_MESSAGE)):
        yield part


_publishers: dict[int, Publisher] = {}


def publish_changes(sender: object, *, changes: Sequence[StatusChange], **kwargs: Any) -> None:
    """Receiver of statuses_changed. A forked process has a publisher of its own."""
    pid = os.getpid()
    if pid not in _publishers:
        _publishers[pid] = Publisher()
    _publishers[pid].publish(changes)
