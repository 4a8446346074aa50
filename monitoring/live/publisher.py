"""Publishes status changes to the people who watch, about once a second.

A commit may change thousands of devices, and there are many commits a second. So changes are
gathered: the first go out at once, the following ones together after LIVE_COALESCE_S. Changes that
nobody watches are dropped (monitoring.live.watching). Delivery is at most once; a client that
missed changes gets them from monitoring.live.replay, or asks for everything again.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from redis.exceptions import RedisError

from monitoring.live.replay import remember
from monitoring.live.watching import groups_watched
from telemetry.models import DeviceStatus
from telemetry.statuses import StatusChange
from telemetry.times import utc_text

log = logging.getLogger(__name__)

OPERATORS = "live.operators"
DEVICES_PER_MESSAGE = 500
ATTEMPTS = 5
RETRY_AFTER_S = 1.0

Batches = Sequence[Sequence[StatusChange]]


def tenant_group(tenant_id: int) -> str:
    return f"live.tenant.{tenant_id}"


def change_as_json(change: StatusChange) -> dict[str, Any]:
    """A device as the websocket sends it; times are ISO 8601 in UTC."""
    return {
        "id": change.device_id,
        "state": change.state,
        "state_since": utc_text(change.state_since),
        "reason": change.reason,
        "last_seen": utc_text(change.last_seen) if change.last_seen else None,
        "battery_pct": change.battery_pct,
    }


def status_as_change(status: DeviceStatus) -> StatusChange:
    return StatusChange(*(getattr(status, name) for name in StatusChange._fields))


class Publisher:
    """Gathers changes and sends them to the channel layer, on its own event loop.

    Its callers, Celery tasks, are synchronous and must not wait for the people who watch.
    """

    def __init__(self) -> None:
        self._gathered: list[Sequence[StatusChange]] = []
        self._is_sending = False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="live", daemon=True).start()

    def publish(self, changes: Sequence[StatusChange]) -> None:
        """Returns at once; the changes are sent within LIVE_COALESCE_S."""
        self._loop.call_soon_threadsafe(self._gather, changes)

    def _gather(self, changes: Sequence[StatusChange]) -> None:
        self._gathered.append(changes)
        if not self._is_sending:
            self._is_sending = True
            self._sending = self._loop.create_task(self._send_until_quiet())

    async def _send_until_quiet(self) -> None:
        try:
            while self._gathered:
                batches, self._gathered = self._gathered, []
                await _send_at_last(batches)
                await asyncio.sleep(settings.LIVE_COALESCE_S)
        finally:
            self._is_sending = False


async def _send_at_last(batches: Batches) -> None:
    """Sends the changes; retries while Valkey may be restarting, then drops them with a warning."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _send(batches)
        except (RedisError, OSError) as error:
            log.warning("could not send live changes, attempt %d: %s", attempt, error)
            await asyncio.sleep(RETRY_AFTER_S)


async def _send(batches: Batches) -> None:
    """Sends to the groups that are watched now; asks each time, so that nobody misses a change."""
    watched = await groups_watched()
    messages = _messages(batches, watched) if watched else {}
    if not messages:
        return
    layer = get_channel_layer()
    assert layer is not None, "CHANNEL_LAYERS is set in the settings"
    ids = await remember(messages)
    for group, parts in messages.items():
        for message_id, devices in zip(ids[group], parts, strict=True):
            message = {"type": "devices.changed", "id": message_id, "devices": devices}
            await layer.group_send(group, message)


def _messages(batches: Batches, watched: set[str]) -> dict[str, list[list[dict[str, Any]]]]:
    """The devices to send to each watched group, in parts of DEVICES_PER_MESSAGE."""
    messages: dict[str, list[list[dict[str, Any]]]] = {}
    for tenant_id, changes in _latest(batches, watched).items():
        parts = list(_parts(map(change_as_json, changes.values())))
        for group in {tenant_group(tenant_id), OPERATORS} & watched:
            messages.setdefault(group, []).extend(parts)
    return messages


def _latest(batches: Batches, watched: set[str]) -> Mapping[int, Mapping[int, StatusChange]]:
    """The last change of each device, by tenant, for the tenants that somebody watches."""
    latest: dict[int, dict[int, StatusChange]] = {}
    for change in (one for changes in batches for one in changes):
        latest.setdefault(change.tenant_id, {})[change.device_id] = change
    if OPERATORS in watched:
        return latest
    return {one: changes for one, changes in latest.items() if tenant_group(one) in watched}


def _parts(devices: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(devices)
    while part := list(islice(remaining, DEVICES_PER_MESSAGE)):
        yield part


_publishers: dict[int, Publisher] = {}


def publish_changes(sender: object, *, changes: Sequence[StatusChange], **kwargs: Any) -> None:
    """Receives statuses_changed. Each process has its own publisher: threads do not survive a
    fork."""
    pid = os.getpid()
    if pid not in _publishers:
        _publishers[pid] = Publisher()
    _publishers[pid].publish(changes)
