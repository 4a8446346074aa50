"""SQL for telemetry_lastrefusal: what was last refused of each device."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

# Values that are left out of accepted messages count together while they come at least this often.
IGNORED_TOGETHER = "interval '1 day'"

# Only devices that exist have a status. Counts start again after an accepted message; the newest
# reason and sample stay.
NOTE = f"""
INSERT INTO telemetry_lastrefusal AS r
    (device_id, accepted, tenant_id, at, since, count, reason, sample)
SELECT u.device_id, u.accepted, s.tenant_id, u.at, u.since, u.messages, u.reason, u.sample
FROM unnest(%(device_id)s::integer[], %(tenant_id)s::integer[], %(accepted)s::boolean[],
            %(at)s::timestamptz[], %(since)s::timestamptz[], %(messages)s::bigint[],
            %(reason)s::text[], %(sample)s::text[])
     AS u (device_id, tenant_id, accepted, at, since, messages, reason, sample)
JOIN telemetry_devicestatus s USING (device_id, tenant_id)
ORDER BY u.device_id, u.accepted
ON CONFLICT (device_id, accepted) DO UPDATE
SET (tenant_id, since, count, at, reason, sample) = (
    SELECT excluded.tenant_id,
           CASE WHEN is_over THEN excluded.since ELSE least(r.since, excluded.since) END,
           CASE WHEN is_over THEN 0 ELSE r.count END + excluded.count,
           greatest(r.at, excluded.at),
           CASE WHEN excluded.at >= r.at THEN excluded.reason ELSE r.reason END,
           CASE WHEN excluded.at >= r.at THEN excluded.sample ELSE r.sample END
    FROM (
        SELECT CASE WHEN r.accepted THEN excluded.at - r.at > {IGNORED_TOGETHER}
                    ELSE coalesce(s.last_seen > r.at, false) END AS is_over
        FROM telemetry_devicestatus s WHERE s.device_id = r.device_id
    ) AS earlier
)
RETURNING device_id, accepted, at, since, count, reason
"""


class Refused(NamedTuple):
    """What was refused of a device: the times of the first and the latest, and how many."""

    at: datetime
    since: datetime
    messages: int
    reason: str


class RefusalGroup(NamedTuple):
    """New refusals of a device, together."""

    device_id: int
    tenant_id: int
    accepted: bool
    at: datetime
    since: datetime
    messages: int
    reason: str
    sample: str


def note(cursor: CursorWrapper, groups: Sequence[RefusalGroup]) -> dict[int, Refused]:
    """Adds the refusals; there is at most one group of each kind a device. Returns what was refused
    altogether, by device, without what was left out of accepted messages."""
    columns = dict(zip(RefusalGroup._fields, map(list, zip(*groups, strict=True)), strict=True))
    cursor.execute(NOTE, columns)
    return {
        device_id: Refused(*row)
        for device_id, was_accepted, *row in cursor.fetchall()
        if not was_accepted
    }
