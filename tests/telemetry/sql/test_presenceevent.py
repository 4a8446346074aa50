import re
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from devices.models import Device
from devices.tenancy.scope import operator_scope, tenant_scope
from telemetry.sql import presenceevent
from tests.conftest import Fleet

LATEST = datetime(2026, 11, 30, 12, tzinfo=UTC)
EVERY = timedelta(minutes=10)
# Over 50 chunks of 7 days.
COUNT = 50_000


@pytest.fixture
def flapping(acme: Fleet) -> Device:
    """A device that has come and gone all year."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_presenceevent "
            "(device_id, time, tenant_id, previous_state, state, reason) "
            "SELECT %s, %s - n * interval '10 minutes', %s, 'late', 'online', 'no. ' || n "
            "FROM generate_series(0, %s - 1) n",
            [acme.device.pk, LATEST, acme.tenant.pk, COUNT],
        )
        cursor.execute("ANALYZE telemetry_presenceevent")
    return acme.device


def scope_of(kind: str, acme: Fleet, operator: User) -> AbstractContextManager[None]:
    if kind == "operator":
        return operator_scope(user_id=operator.pk)
    return tenant_scope(tenant_ids=[acme.tenant.pk])


def rows_read(statement: str, values: dict[str, Any]) -> int:
    """How many rows the statement takes from the table's chunks."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {statement}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Sort" not in plan, plan
    read = re.findall(r"Scan.* on _hyper_.*\(actual rows=(\d+) loops=(\d+)\)", plan)
    assert read, plan
    return sum(int(rows) * int(loops) for rows, loops in read)


@pytest.mark.parametrize("kind", ["member", "operator"])
@pytest.mark.parametrize("at", [0, 30_000])
def test_a_page_of_a_long_past_reads_no_more_than_it_shows(
    flapping: Device, acme: Fleet, operator: User, kind: str, at: int
) -> None:
    at_time = LATEST - at * EVERY
    before = (at_time, "online") if at else None
    first = at + 1 if at else 0
    with scope_of(kind, acme, operator), connection.cursor() as cursor:
        rows = presenceevent.page(cursor, device_id=flapping.pk, before=before, limit=50)
        read = rows_read(
            presenceevent.PAGE_AFTER if before else presenceevent.PAGE,
            {"device_id": flapping.pk, "time": at_time, "state": "online", "limit": 50},
        )

    assert [one.time for one in rows] == [LATEST - n * EVERY for n in range(first, first + 50)]
    assert read <= 51
