from datetime import UTC, datetime

from django.db import connection

from devices.fleet.keys import credentials_issue
from devices.models import Device
from telemetry.sql import devicestatus
from tests.conftest import Fleet


def test_finding_the_silent_reads_no_history_and_no_whole_table(acme: Fleet) -> None:
    devices = [Device(tenant=acme.tenant, device_id=f"d{n}") for n in range(3000)]
    credentials_issue(devices=Device.objects.bulk_create(devices))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_devicestatus SET state = 'online', late_at = now()")
        cursor.execute("ANALYZE telemetry_devicestatus, devices_credential")
        cursor.execute(
            "EXPLAIN " + devicestatus.LOCK_DUE,
            {"ts": datetime(2020, 1, 1, tzinfo=UTC), "limit": 10},
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "status_next_late" in plan
    assert "Seq Scan" not in plan
