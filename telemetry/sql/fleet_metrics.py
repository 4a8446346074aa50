"""SQL for what whole fleets measured: figures per metric, over many devices."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

FIGURES = """
SELECT m.key, count(DISTINCT sample.device_id), avg(m.value::numeric), min(m.value::numeric),
       max(m.value::numeric)
FROM sample CROSS JOIN LATERAL jsonb_each(sample.metrics) m
WHERE jsonb_typeof(m.value) = 'number'
"""
ORDER = "GROUP BY m.key ORDER BY 2 DESC, 1 LIMIT %(names)s"

# Reads device by device, because readings have no index by tenant. Stops one reading past the
# limit, and then returns a single row whose name is NULL.
OF_READINGS = f"""
WITH sample AS MATERIALIZED (
    SELECT s.device_id, r.metrics
    FROM telemetry_devicestatus s
    CROSS JOIN LATERAL (
        SELECT metrics FROM telemetry_reading
        WHERE device_id = s.device_id AND time >= %(start)s AND time < %(end)s
    ) r
    WHERE s.last_reading_at >= %(start)s AND s.tenant_id = ANY (%(tenant_ids)s)
    LIMIT %(most)s + 1
), counted AS (
    SELECT count(*) AS readings FROM sample
)
SELECT NULL, readings, NULL, NULL, NULL FROM counted WHERE readings > %(most)s
UNION ALL
({FIGURES} AND (SELECT readings FROM counted) <= %(most)s {ORDER})
"""

OF_LATEST = f"""
WITH sample AS (
    SELECT device_id, metrics FROM telemetry_devicestatus
    WHERE last_reading_at >= %(start)s AND tenant_id = ANY (%(tenant_ids)s)
)
{FIGURES} {ORDER}
"""


class FleetWindow(NamedTuple):
    """The devices of these tenants, from `start` until just before `end`."""

    tenant_ids: Sequence[int]
    start: datetime
    end: datetime


class FleetMetric(NamedTuple):
    """The figures for a metric; `devices` is how many devices sent a number."""

    name: str
    devices: int
    avg: Decimal
    min: Decimal
    max: Decimal


def of_readings(
    cursor: CursorWrapper, window: FleetWindow, *, most: int, names: int
) -> list[FleetMetric] | None:
    """The figures over all readings in the window, for at most `names` metrics, the most frequent
    first. None if there are more than `most` readings."""
    cursor.execute(OF_READINGS, _bound(window) | {"most": most, "names": names})
    rows = cursor.fetchall()
    if rows and rows[0][0] is None:
        return None
    return [FleetMetric(*row) for row in rows]


def of_latest(cursor: CursorWrapper, window: FleetWindow, *, names: int) -> list[FleetMetric]:
    """The same, but only over the latest reading from each device that sent one since `start`."""
    cursor.execute(OF_LATEST, _bound(window) | {"names": names})
    return [FleetMetric(*row) for row in cursor.fetchall()]


def _bound(window: FleetWindow) -> dict[str, Any]:
    return {**window._asdict(), "tenant_ids": list(window.tenant_ids)}
