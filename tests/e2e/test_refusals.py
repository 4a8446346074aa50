"""What the door refuses is counted, and shown, by the real processes."""

import asyncio

import aiohttp

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.device import post
from tests.stack_data import add_devices, add_tenant, query
from tests.waits import LIMIT_S

REFUSED = 40


def test_an_ingest_server_that_is_stopped_loses_no_count(stack: Stack) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["d1"])

    async def refuse() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(REFUSED):
                assert await post(session, stack, device, {"device_id": [1]}) == 400

    asyncio.run(refuse())
    stack.stop("ingest")  # before the second is over
    stack.start("ingest")

    await_condition(
        lambda: _counted(stack, tenant_id) == REFUSED, LIMIT_S, "the refusals to be collected"
    )

    state = "SELECT state FROM telemetry_devicestatus WHERE device_id = %s"
    await_condition(
        lambda: query(stack, state, device.id) == [("refused",)], LIMIT_S, "the device's state"
    )


def _counted(stack: Stack, tenant_id: int) -> int:
    statement = "SELECT coalesce(sum(count), 0) FROM ingest_refusal WHERE tenant_id = %s"
    return int(query(stack, statement, tenant_id)[0][0])
