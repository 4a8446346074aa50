import asyncio
from typing import Any

import pytest

from devices.models import Device
from devices.valkey import async_connection
from monitoring.live.publisher import OPERATORS, Publisher, tenant_group
from monitoring.live.watching import groups_watched, watching
from tests.conftest import Fleet
from tests.monitoring.live.listeners import change, run
from tests.waits import LIMIT_S

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


def test_messages_are_made_for_those_who_listen_and_nobody_else(
    acme: Fleet, rival: Fleet, settings: Any
) -> None:
    settings.LIVE_COALESCE_S = 0

    async def publish() -> Any:
        publisher = Publisher()
        assert await groups_watched() == set()
        await watching().begin([tenant_group(acme.tenant.pk)])
        assert await groups_watched() == {tenant_group(acme.tenant.pk)}
        other = await Device.objects.acreate(tenant=acme.tenant, device_id="other")
        publisher.publish([change(rival.device), change(acme.device)])
        publisher.publish([change(other)])
        key = f"live:replay:{tenant_group(acme.tenant.pk)}"
        async with asyncio.timeout(LIMIT_S):
            while await async_connection().xlen(key) < 1:
                await asyncio.sleep(0.01)
        return sorted(await async_connection().keys("live:replay:*"))

    assert run(publish) == [f"live:replay:{tenant_group(acme.tenant.pk)}".encode()]


def test_operators_hear_all_tenants(acme: Fleet, rival: Fleet) -> None:
    async def publish() -> Any:
        await watching().begin([OPERATORS])
        Publisher().publish([change(rival.device), change(acme.device)])
        async with asyncio.timeout(LIMIT_S):
            while await async_connection().xlen(f"live:replay:{OPERATORS}") < 2:
                await asyncio.sleep(0.01)
        return await async_connection().keys("live:replay:*")

    assert run(publish) == [f"live:replay:{OPERATORS}".encode()]
