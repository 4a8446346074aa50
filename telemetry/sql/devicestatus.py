"""SQL on telemetry_devicestatus: the latest of each device, and who is due to be called silent."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import copy_lines, fetch_binary, json, moment, number, text
from telemetry.sql.presenceevent import PresenceTransition
from telemetry.statuses import StatusChange

CHANGE = "s.device_id, s.tenant_id, s.state, s.state_since, s.reason, s.last_seen, s.battery_pct"

# Always in the order of device_id, as the drain, the sweep and people's actions all lock rows
# here: two that lock the same rows in another order would wait for each other for ever.
LOCK = """
WITH locked AS (
    SELECT FROM telemetry_devicestatus
    WHERE device_id = ANY(%(ids)s::integer[])
    ORDER BY device_id
    FOR NO KEY UPDATE
)
SELECT count(*) FROM locked
"""
EXISTING = "SELECT device_id FROM telemetry_devicestatus WHERE device_id = ANY(%(ids)s::integer[])"

CREATE_SIGNS = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_sign (
    device_id integer, time timestamptz, received_at timestamptz, address inet,
    battery_pct float8, rssi_dbm float8, uptime_s float8, version text, vitals jsonb, metrics jsonb
) ON COMMIT DELETE ROWS
"""

# Which signs prove that their device is alive now? Those whose age, by the device's own clock, is
# within what the device may be silent. A clock known to be behind is allowed for. One not yet
# known to be is recognised when two messages that we received at least 5 s apart are old by the
# same amount: a backlog comes with ages that differ, a wrong clock does not.
# date_part is float8, as the columns are; extract() is numeric.
JUDGED = """
judged AS (
    SELECT i.*, s.state AS previous_state, s.last_seen AS previous_seen,
           i.received_at > coalesce(s.last_seen, '-infinity') AS newest,
           date_part('epoch', i.time - i.received_at) AS skew_s,
           i.time IS NULL
           OR date_part('epoch', i.received_at - i.time)
               <= s.interval_s + s.grace_s + greatest(0, -coalesce(s.clock_skew_s, 0))
           OR coalesce(
               abs(date_part('epoch', i.time - i.received_at) - s.skew_candidate_s) <= 3
                   AND i.received_at >= s.skew_candidate_at + interval '5 s',
               false
           ) AS live
    FROM incoming_sign i JOIN telemetry_devicestatus s USING (device_id)
)
"""

# late_at stays where it is while the device is online: see telemetry.models.DeviceStatus. Metrics
# may be the latest though a heartbeat that came later was stored before, as by another shard: they
# say nothing of presence.
MOVE_FORWARD = f"""
WITH {JUDGED}
UPDATE telemetry_devicestatus s
SET last_seen = greatest(s.last_seen, n.received_at),
    state = CASE WHEN s.state <> 'paused' AND n.newest THEN 'online' ELSE s.state END,
    state_since = CASE WHEN s.state NOT IN ('paused', 'online') AND n.newest THEN n.received_at
                       ELSE s.state_since END,
    excused_s = CASE WHEN n.newest THEN 0 ELSE s.excused_s END,
    late_at = CASE WHEN s.state <> 'online' AND n.newest
                   THEN n.received_at + make_interval(secs => s.interval_s + s.grace_s)
                   ELSE s.late_at END,
    clock_skew_s = coalesce(n.skew_s, s.clock_skew_s),
    skew_candidate_s = NULL,
    skew_candidate_at = NULL,
    battery_pct = coalesce(n.battery_pct, s.battery_pct),
    rssi_dbm = coalesce(n.rssi_dbm, s.rssi_dbm),
    uptime_s = coalesce(n.uptime_s, s.uptime_s),
    version = coalesce(n.version, s.version),
    address = coalesce(n.address, s.address),
    vitals = coalesce(n.vitals, s.vitals),
    metrics = coalesce(n.metrics, s.metrics),
    last_reading_at = CASE WHEN n.metrics IS NULL THEN s.last_reading_at ELSE n.received_at END
FROM judged n
WHERE s.device_id = n.device_id
  AND n.live
  AND (n.newest
       OR n.metrics IS NOT NULL AND n.received_at > coalesce(s.last_reading_at, '-infinity'))
RETURNING {CHANGE}, n.previous_state, n.previous_seen, host(s.address), s.clock_skew_s
"""

REMEMBER_SKEW = f"""
WITH {JUDGED}
UPDATE telemetry_devicestatus s
SET skew_candidate_s = n.skew_s, skew_candidate_at = n.received_at
FROM judged n
WHERE s.device_id = n.device_id
  AND NOT n.live
  AND n.newest
  -- The first of those that are old by the same amount stays, or a device that speaks often would
  -- never have two that are 5 s apart.
  AND coalesce(abs(n.skew_s - s.skew_candidate_s) > 3, true)
"""

# Deadlines are computed here: late_at only says when to look.
LOCK_DUE = """
SELECT device_id, tenant_id, state, last_seen, interval_s, grace_s, excused_s, host(address),
       battery_pct
FROM telemetry_devicestatus
WHERE (state = 'online' AND late_at <= %(ts)s) OR (state = 'late' AND offline_at <= %(ts)s)
ORDER BY device_id
LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
"""

LOOK_AGAIN = """
UPDATE telemetry_devicestatus
SET late_at = last_seen + make_interval(secs => excused_s + interval_s + grace_s)
WHERE device_id = ANY(%(ids)s)
"""

EXTEND_DEADLINES = """
UPDATE telemetry_devicestatus s
SET excused_s = s.excused_s + %(seconds)s,
    late_at = s.late_at + make_interval(secs => %(seconds)s),
    offline_at = s.offline_at + make_interval(secs => %(seconds)s)
FROM (
    SELECT device_id FROM telemetry_devicestatus
    WHERE state IN ('online', 'late')
    ORDER BY device_id
    FOR NO KEY UPDATE
) locked
WHERE s.device_id = locked.device_id
"""

SET_STATES = f"""
UPDATE telemetry_devicestatus s
SET state = u.state,
    state_since = u.since,
    reason = u.reason,
    offline_at = s.last_seen + make_interval(secs => s.excused_s + 2 * (s.interval_s + s.grace_s))
FROM unnest(%(ids)s::integer[], %(states)s::text[], %(since)s::timestamptz[], %(reasons)s::text[])
     AS u (device_id, state, since, reason)
WHERE s.device_id = u.device_id
RETURNING {CHANGE}
"""

LOCK_CHOSEN = """
SELECT device_id, tenant_id, state, last_seen, interval_s, grace_s
FROM telemetry_devicestatus
WHERE device_id = ANY(%(ids)s)
ORDER BY device_id
FOR NO KEY UPDATE
"""

EXCUSE_SILENCE = """
UPDATE telemetry_devicestatus
SET excused_s = extract(epoch FROM %(ts)s - last_seen),
    late_at = %(ts)s + make_interval(secs => interval_s + grace_s),
    offline_at = %(ts)s + make_interval(secs => 2 * (interval_s + grace_s))
WHERE device_id = ANY(%(ids)s) AND last_seen IS NOT NULL
"""


class SignOfLife(NamedTuple):
    """The newest that a batch holds of a device. `vitals` and `metrics` are JSON objects as text,
    `time` is the device's clock, None if it sent none."""

    device_id: int
    time: datetime | None
    received_at: datetime
    address: str | None
    battery_pct: float | None = None
    rssi_dbm: float | None = None
    uptime_s: float | None = None
    version: str | None = None
    vitals: str | None = None
    metrics: str | None = None


class Heard(NamedTuple):
    """A device whose status a heartbeat moved forward, with what it was before."""

    change: StatusChange
    previous_state: str
    previous_seen: datetime | None
    address: str | None
    clock_skew_s: float | None


class Due(NamedTuple):
    """A device that has been silent for longer than it may be."""

    device_id: int
    tenant_id: int
    state: str
    last_seen: datetime
    interval_s: int
    grace_s: int
    excused_s: float
    address: str | None
    battery_pct: float | None


class Chosen(NamedTuple):
    """A device that a person acts upon."""

    device_id: int
    tenant_id: int
    state: str
    last_seen: datetime | None
    interval_s: int
    grace_s: int


def existing(cursor: CursorWrapper, *, ids: Collection[int]) -> set[int]:
    """Those of the devices that there are."""
    cursor.execute(EXISTING, {"ids": _array(ids)})
    return {device_id for (device_id,) in cursor.fetchall()}


def lock(cursor: CursorWrapper, *, ids: Collection[int]) -> None:
    """Locks the status rows of those devices that there are, until the transaction ends."""
    cursor.execute(LOCK, {"ids": _array(ids)})


def _array(ids: Collection[int]) -> str:
    # As one text, since psycopg adapts the numbers of a list one by one.
    return f"{{{','.join(map(str, ids))}}}"


def move_forward(cursor: CursorWrapper, *, signs: Collection[SignOfLife]) -> list[Heard]:
    """Applies live signs, one a device, to the devices that there are, and locks these.

    Of a sign that is not live it keeps by how much it was old.
    """
    cursor.execute(CREATE_SIGNS)
    cursor.execute("DELETE FROM incoming_sign")
    columns = ", ".join(SignOfLife._fields)
    copy_lines(cursor, f"incoming_sign ({columns})", map(_line, signs))
    lock(cursor, ids=[sign.device_id for sign in signs])
    rows = fetch_binary(cursor, MOVE_FORWARD)
    heard = [Heard(StatusChange(*row[:7]), *row[7:]) for row in rows]
    if len(heard) < len(signs):
        cursor.execute(REMEMBER_SKEW)
    return heard


def _line(sign: SignOfLife) -> str:
    device_id, time, received_at, address, battery, rssi, uptime, version, vitals, metrics = sign
    return (
        f"{device_id}\t{moment(time)}\t{moment(received_at)}\t{text(address)}\t"
        f"{number(battery)}\t{number(rssi)}\t{number(uptime)}\t{text(version)}\t"
        f"{json(vitals)}\t{json(metrics)}"
    )


def look_again(cursor: CursorWrapper, *, ids: Sequence[int]) -> None:
    """Sets when to look next at online devices that have been heard meanwhile."""
    cursor.execute(LOOK_AGAIN, {"ids": list(ids)})


def lock_due(cursor: CursorWrapper, *, ts: datetime, limit: int) -> list[Due]:
    """Devices to look at, at `ts`, locked; those that are just being written to
    are left out, as a heartbeat is coming in for them."""
    cursor.execute(LOCK_DUE, {"ts": ts, "limit": limit})
    return [Due(*row) for row in cursor.fetchall()]


def lock_chosen(cursor: CursorWrapper, *, ids: Sequence[int]) -> list[Chosen]:
    cursor.execute(LOCK_CHOSEN, {"ids": list(ids)})
    return [Chosen(*row) for row in cursor.fetchall()]


def extend_deadlines(cursor: CursorWrapper, *, by: timedelta) -> int:
    """Gives every device that is not offline so much more time; returns how many they are."""
    cursor.execute(EXTEND_DEADLINES, {"seconds": by.total_seconds()})
    return cursor.rowcount


def excuse_silence(cursor: CursorWrapper, *, ids: Sequence[int], ts: datetime) -> None:
    """Lets the silence of devices that this transaction has locked count from `ts` only."""
    cursor.execute(EXCUSE_SILENCE, {"ids": list(ids), "ts": ts})


def set_states(
    cursor: CursorWrapper, *, transitions: Sequence[PresenceTransition]
) -> list[StatusChange]:
    """Writes the new states to rows that this transaction has locked."""
    cursor.execute(
        SET_STATES,
        {
            "ids": [one.device_id for one in transitions],
            "states": [one.state for one in transitions],
            "since": [one.time for one in transitions],
            "reasons": [one.reason for one in transitions],
        },
    )
    return [StatusChange(*row) for row in cursor.fetchall()]
