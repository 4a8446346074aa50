"""Every acknowledged reading is stored once and counted in the ledger, whatever is killed."""

import asyncio
import os
from collections.abc import Callable

import pytest

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.batches import METRICS, assert_stored_once, send_while_killing, settled
from tests.e2e.killing import kill_drain, kill_ingest, kill_postgres, kill_valkey
from tests.stack_data import add_devices, add_gateway, add_tenant
from tests.waits import LIMIT_S

KILLS = int(os.environ.get("ROLLCALL_KILLS", "3"))
DEVICES = 100


@pytest.mark.parametrize("kill", [kill_ingest, kill_drain, kill_valkey, kill_postgres])
def test_every_acknowledged_reading_is_stored_once_when_a_process_is_killed(
    stack: Stack, kill: Callable[[Stack], None]
) -> None:
    tenant_id = add_tenant(stack)
    names = [f"d{n}" for n in range(DEVICES)]
    add_devices(stack, tenant_id, names)
    gateway = add_gateway(stack, tenant_id)

    acknowledged, statuses = asyncio.run(send_while_killing(stack, gateway, names, kill, KILLS))

    assert statuses <= {0, 202, 503}, statuses
    expected = len(acknowledged) * DEVICES
    await_condition(
        lambda: settled(stack, tenant_id, expected), LIMIT_S, "everything to be counted"
    )
    assert_stored_once(stack, tenant_id, acknowledged, DEVICES, METRICS)
