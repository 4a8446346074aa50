"""Listeners, by socket or stream, and what is published to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient
from rest_framework_simplejwt.tokens import AccessToken

from devices.models import Device
from devices.valkey import async_connection
from monitoring.live.consumers import (
    LiveConsumer,
)
from monitoring.live.visitor import Visitor, visitor_of_token
from telemetry.statuses import StatusChange
from tests.conftest import Fleet
from tests.waits import LIMIT_S


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    """Runs it on an event loop whose connections are closed with it."""

    async def whole() -> Any:
        try:
            return await asyncio.wait_for(work(), 3 * LIMIT_S)
        finally:
            layer: Any = get_channel_layer()
            await layer.flush()
            await async_connection().aclose()

    return asyncio.run(whole())


def change(device: Device, reason: str = "first heartbeat") -> StatusChange:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    return StatusChange(device.pk, device.tenant_id, "online", at, reason, at, 50.0)


async def visitor(fleet: Fleet) -> Visitor:
    found = await visitor_of_token(str(AccessToken.for_user(fleet.manager)))
    assert found is not None
    return found


@database_sync_to_async
def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@asynccontextmanager
async def nobody_can_tell_roles(
    caplog: pytest.LogCaptureFixture, told: str = "trying again"
) -> AsyncIterator[None]:
    """Inside the block, the database fails every query for a person's tenants; the block ends when
    the log shows that this happened."""
    await execute("ALTER FUNCTION devices_roles_of(integer) RENAME TO devices_roles_away")
    try:
        yield
        while told not in caplog.text:
            await asyncio.sleep(0.01)
    finally:
        await execute("ALTER FUNCTION devices_roles_away(integer) RENAME TO devices_roles_of")


async def connected(fleet: Fleet) -> Any:
    """An accepted socket of the manager."""
    protocols = ["rollcall.jwt", str(AccessToken.for_user(fleet.manager))]
    scope = {"type": "websocket", "path": "/ws/live", "subprotocols": protocols}
    socket: Any = ApplicationCommunicator(  # type: ignore[no-untyped-call]
        LiveConsumer.as_asgi(), scope
    )
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output(LIMIT_S))["type"] == "websocket.accept"
    return socket


async def leave(socket: Any) -> None:
    """The client leaves, as the server reports it."""
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(LIMIT_S)


async def stream(fleet: Fleet) -> Any:
    """The answer to the manager's request for a stream."""
    authorization = f"Bearer {AccessToken.for_user(fleet.manager)}"
    return await AsyncClient().get("/api/v1/live", headers={"Authorization": authorization})


async def lock_out(user: User) -> None:
    user.is_active = False
    await user.asave()
