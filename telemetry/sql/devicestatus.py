"""SQL for telemetry_devicestatus: the latest status of each device, and which ones are due."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import copy_lines, fetch_binary
from telemetry.sql.lastrefusal import Refused
from telemetry.sql.presenceevent import PresenceTransition
from telemetry.statuses import StatusChange
from telemetry.vitals import NAMED_VITALS, NAMES

CHANGE = "s.device_id, s.tenant_id, s.state, s.state_since, s.reason, s.last_seen, s.battery_pct"

# The drain, the sweep and people's actions all lock rows here in the order of device_id, to avoid
# deadlocks. Devices that are already online are not returned: most are, and keep their state.
LOCK = """
WITH locked AS (
    SELECT device_id, state, last_seen FROM telemetry_devicestatus
    WHERE device_id = ANY(%(ids)s::integer[])
    ORDER BY device_id
    FOR NO KEY UPDATE
)
SELECT device_id, state, last_seen FROM locked WHERE state <> 'online'
"""
EXISTING = "SELECT id FROM devices_device WHERE id = ANY(%(ids)s::integer[])"

TYPES = {float: "float8", str: "text"}
NAMED = ", ".join(f"{vital.name} {TYPES[vital.type]}" for vital in NAMED_VITALS)

# The newest message from each device in a batch. Heartbeats have no `metrics`; readings have only
# `metrics`, what belongs to them, and the times.
CREATE_SIGNS = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_sign (
    device_id integer, time timestamptz, received_at timestamptz, address inet,
    {NAMED}, vitals jsonb, metrics jsonb, names bigint, others jsonb
) ON COMMIT DELETE ROWS
"""

# At most this many metrics that the latest reading does not have are kept, with their times.
MOST_OLDER = 256

# Does a sign of life prove that its device is alive now? It does if its age by the device's own
# clock is at most interval + grace, and at most a day; an older message was sent late, from a
# backlog. If the clock is known to be behind, that much more is allowed. A clock that has just
# fallen behind shows up when two messages received at least 5 s apart have the same age, within
# 3 s: in a backlog the ages differ.
# date_part() returns float8 like the columns; extract() returns numeric.
SKEW = "date_part('epoch', i.time - i.received_at)"
LIVE = f"""(
    i.time IS NULL
    OR -{SKEW} <= least(s.interval_s + s.grace_s, 86400)
        + greatest(0, -coalesce(s.clock_skew_s, 0))
    OR coalesce(
        abs({SKEW} - s.skew_candidate_s) <= 3
            AND i.received_at >= s.skew_candidate_at + interval '5 s',
        false
    )
)"""
NEWEST = "i.received_at > coalesce(s.last_seen, '-infinity')"

# Shards are drained at their own pace, so a later heartbeat may be stored before an earlier
# reading, or the other way round. The earlier message is still the latest of its kind: its values
# count, but not for presence.
LATEST_OF_ITS_KIND = """i.received_at > coalesce(
    CASE WHEN i.metrics IS NULL THEN s.last_heartbeat_at ELSE s.last_reading_at END, '-infinity'
)"""

# The latest reading is the one with the latest time by the device's clock, or by ours if that is
# earlier: a clock that was ahead must not keep later readings out. Values are merged only if a
# reading has other names than the latest one: with many names, that takes several times longer than
# all the rest.
TOLD_AT = "least(i.time, i.received_at)"
LATEST_AT = "coalesce(s.metrics_at, s.last_reading_at)"
IS_LATEST = f"i.metrics IS NOT NULL AND {TOLD_AT} >= coalesce({LATEST_AT}, '-infinity')"
HAS_OTHERS = """i.metrics IS NOT NULL
    AND (i.others IS NOT NULL OR i.names IS DISTINCT FROM s.metrics_names)"""

LATEST_NAMED = ",\n    ".join(f"{name} = coalesce(i.{name}, s.{name})" for name in NAMES)

# The status only moves forward: state, deadlines and clock skew change only for a sign of life
# that is newer than last_seen. So batches may be stored in any order, and more than once. Values
# missing from a message stay as they were. A paused device stays paused, whatever it sends.
# late_at does not change while the device is online: see telemetry.models.DeviceStatus.
MOVE_FORWARD = f"""
UPDATE telemetry_devicestatus s
SET last_seen = greatest(s.last_seen, i.received_at),
    state = CASE WHEN s.state <> 'paused' AND {NEWEST} THEN 'online' ELSE s.state END,
    state_since = CASE WHEN s.state NOT IN ('paused', 'online') AND {NEWEST} THEN i.received_at
                       ELSE s.state_since END,
    excused_s = CASE WHEN {NEWEST} THEN 0 ELSE s.excused_s END,
    late_at = CASE WHEN s.state <> 'online' AND {NEWEST}
                   THEN i.received_at + make_interval(secs => s.interval_s + s.grace_s)
                   ELSE s.late_at END,
    clock_skew_s = CASE WHEN {NEWEST} THEN coalesce({SKEW}, s.clock_skew_s)
                        ELSE s.clock_skew_s END,
    skew_candidate_s = CASE WHEN {NEWEST} THEN NULL ELSE s.skew_candidate_s END,
    skew_candidate_at = CASE WHEN {NEWEST} THEN NULL ELSE s.skew_candidate_at END,
    {LATEST_NAMED},
    address = coalesce(i.address, s.address),
    vitals = coalesce(i.vitals, s.vitals),
    metrics = CASE WHEN {IS_LATEST} THEN i.metrics ELSE s.metrics END,
    metrics_at = CASE WHEN {IS_LATEST} THEN {TOLD_AT} ELSE s.metrics_at END,
    metrics_names = CASE WHEN {IS_LATEST} THEN i.names ELSE s.metrics_names END,
    older = CASE WHEN NOT ({HAS_OTHERS}) THEN s.older
                 WHEN {IS_LATEST}
                 THEN telemetry_older(i.metrics, s.metrics, {LATEST_AT}, i.others, s.older,
                                      {MOST_OLDER})
                 ELSE telemetry_older(s.metrics, i.metrics, {TOLD_AT}, i.others, s.older,
                                      {MOST_OLDER}) END,
    last_heartbeat_at = CASE WHEN i.metrics IS NULL THEN i.received_at
                             ELSE s.last_heartbeat_at END,
    last_reading_at = CASE WHEN i.metrics IS NULL THEN s.last_reading_at
                           ELSE greatest(s.last_reading_at, i.received_at) END
FROM incoming_sign i
WHERE s.device_id = i.device_id
  AND {LIVE}
  AND ({NEWEST} OR {LATEST_OF_ITS_KIND} OR {HAS_OTHERS})
RETURNING {CHANGE}
"""
HEARD_HOW = """
SELECT device_id, host(address), clock_skew_s FROM telemetry_devicestatus
WHERE device_id = ANY(%(ids)s::integer[])
"""

REMEMBER_SKEW = f"""
UPDATE telemetry_devicestatus s
SET skew_candidate_s = {SKEW}, skew_candidate_at = i.received_at
FROM incoming_sign i
WHERE s.device_id = i.device_id
  AND NOT {LIVE}
  AND {NEWEST}
  -- Keep the first of several signs with the same age, or a device that sends often would never
  -- have two that are 5 s apart.
  AND coalesce(abs({SKEW} - s.skew_candidate_s) > 3, true)
"""

# A backlog says nothing about the present, but what it measured is the latest of a metric that was
# not heard since.
KEEP_OLD_METRICS = f"""
UPDATE telemetry_devicestatus s
SET older = telemetry_older(s.metrics, i.metrics, {TOLD_AT}, i.others, s.older, {MOST_OLDER})
FROM incoming_sign i
WHERE s.device_id = i.device_id
  AND NOT {LIVE}
  AND {HAS_OTHERS}
"""

# late_at and offline_at only say when to look; the sweep computes the actual deadline. A device
# whose interval or grace has changed is judged again, whatever they say.
LOCK_DUE = """
SELECT s.device_id, s.tenant_id, s.state, s.state_since, s.last_seen, s.interval_s, s.grace_s,
       s.excused_s, s.expectation_changed_at IS NOT NULL, host(s.address), s.battery_pct, (
           SELECT CASE WHEN bool_and(coalesce(k.revoked_at <= %(ts)s, false))
                       THEN max(k.revoked_at) END
           FROM devices_credential k WHERE k.device_id = s.device_id
       ), r.at, r.since, r.count, r.reason
FROM telemetry_devicestatus s
LEFT JOIN telemetry_lastrefusal r ON r.device_id = s.device_id AND NOT r.accepted
WHERE (s.state IN ('online', 'refused') AND s.late_at <= %(ts)s)
   OR (s.state = 'late' AND s.offline_at <= %(ts)s)
   OR s.expectation_changed_at IS NOT NULL
ORDER BY s.device_id
LIMIT %(limit)s
FOR NO KEY UPDATE OF s SKIP LOCKED
"""

LOOK_AGAIN = """
UPDATE telemetry_devicestatus s
SET late_at = CASE WHEN s.state IN ('online', 'refused') THEN u.at ELSE s.late_at END,
    offline_at = CASE WHEN s.state = 'late' THEN u.at ELSE s.offline_at END,
    expectation_changed_at = NULL
FROM unnest(%(ids)s::integer[], %(at)s::timestamptz[]) AS u (device_id, at)
WHERE s.device_id = u.device_id
"""

# Without a time to look at (messages do not set one), late_at stays: MOVE_FORWARD has just set it.
SET_STATES = f"""
UPDATE telemetry_devicestatus s
SET state = u.state,
    state_since = u.since,
    reason = u.reason,
    late_at = CASE WHEN u.state IN ('online', 'refused') THEN coalesce(u.look_at, s.late_at)
                   ELSE s.late_at END,
    offline_at = u.look_at,
    expectation_changed_at = NULL,
    paused_until = CASE WHEN u.state = 'paused' THEN s.paused_until END
FROM unnest(%(ids)s::integer[], %(states)s::text[], %(since)s::timestamptz[], %(reasons)s::text[],
            %(look_at)s::timestamptz[])
     AS u (device_id, state, since, reason, look_at)
WHERE s.device_id = u.device_id
RETURNING {CHANGE}
"""

SET_REASONS = f"""
UPDATE telemetry_devicestatus s
SET reason = u.reason
FROM unnest(%(ids)s::integer[], %(reasons)s::text[]) AS u (device_id, reason)
WHERE s.device_id = u.device_id
RETURNING {CHANGE}
"""

SET_PAUSE_END = """
UPDATE telemetry_devicestatus SET paused_until = %(until)s WHERE device_id = ANY(%(ids)s)
"""

LOCK_CHOSEN = """
SELECT s.device_id, s.tenant_id, s.state, s.state_since, s.reason, s.last_seen, s.interval_s,
       s.grace_s, s.paused_until, r.at, r.since, r.count, r.reason
FROM telemetry_devicestatus s
LEFT JOIN telemetry_lastrefusal r ON r.device_id = s.device_id AND NOT r.accepted
WHERE {chosen}
ORDER BY s.device_id
FOR NO KEY UPDATE OF s
"""
LOCK_BY_ID = LOCK_CHOSEN.format(chosen="s.device_id = ANY(%(ids)s)")
LOCK_PAUSE_OVER = (
    LOCK_CHOSEN.format(chosen="s.paused_until <= %(ts)s AND s.state = 'paused'") + "SKIP LOCKED"
)

EXCUSE_SILENCE = """
UPDATE telemetry_devicestatus
SET excused_s = extract(epoch FROM %(ts)s - last_seen),
    late_at = %(ts)s + make_interval(secs => interval_s + grace_s),
    offline_at = %(ts)s + make_interval(secs => 2 * (interval_s + grace_s))
WHERE device_id = ANY(%(ids)s) AND last_seen IS NOT NULL
"""


class Before(NamedTuple):
    """The previous state of a device that was not online."""

    state: str
    last_seen: datetime | None


class Returned(NamedTuple):
    """A device that a message brought online, with its previous state."""

    change: StatusChange
    previous_state: str
    previous_seen: datetime | None
    address: str | None
    clock_skew_s: float | None


class Moved(NamedTuple):
    """Statuses that moved forward: `steady` ones kept their state, `returned` ones are online."""

    steady: list[StatusChange]
    returned: list[Returned]


class Due(NamedTuple):
    """A device that the sweep has to check. `is_changed`: its interval or grace is another now.
    `refused` is what was refused of it, if anything ever was."""

    device_id: int
    tenant_id: int
    state: str
    state_since: datetime
    last_seen: datetime | None
    interval_s: int
    grace_s: int
    excused_s: float
    is_changed: bool
    address: str | None
    battery_pct: float | None
    revoked_at: datetime | None
    refused: Refused | None


class Chosen(NamedTuple):
    """A device that a person pauses or resumes, or whose messages are refused."""

    device_id: int
    tenant_id: int
    state: str
    state_since: datetime
    reason: str
    last_seen: datetime | None
    interval_s: int
    grace_s: int
    paused_until: datetime | None
    refused: Refused | None


def missing(cursor: CursorWrapper, *, ids: set[int]) -> set[int]:
    """The ids of devices that do not exist."""
    cursor.execute(EXISTING, {"ids": _array(ids)})
    return ids.difference(device_id for (device_id,) in cursor.fetchall())


def lock(cursor: CursorWrapper, *, ids: Collection[int]) -> dict[int, Before]:
    """Locks the devices' status rows until the transaction ends; returns those that are not
    online. Ids of devices that do not exist are ignored."""
    cursor.execute(LOCK, {"ids": _array(ids)})
    return {device_id: Before(*row) for device_id, *row in cursor.fetchall()}


def _array(ids: Collection[int]) -> str:
    # One string, because psycopg adapts a list number by number.
    return f"{{{','.join(map(str, ids))}}}"


def move_forward(
    cursor: CursorWrapper, *, signs: Mapping[int, str], columns: Sequence[str]
) -> Moved:
    """Applies live signs of life, keyed by device id, and locks the devices' status rows.

    A sign is a row of incoming_sign with these `columns`, in COPY's text format. For a sign that is
    not live, only its age is kept. Signs from devices that do not exist are ignored.
    """
    if not signs:
        return Moved([], [])
    cursor.execute(CREATE_SIGNS)
    cursor.execute("DELETE FROM incoming_sign")
    copy_lines(cursor, f"incoming_sign ({', '.join(columns)})", signs.values())
    before = lock(cursor, ids=signs)
    changes = list(map(StatusChange._make, fetch_binary(cursor, MOVE_FORWARD)))
    if len(changes) < len(signs):
        cursor.execute(REMEMBER_SKEW)
        cursor.execute(KEEP_OLD_METRICS)
    return _moved(cursor, changes, before) if before else Moved(changes, [])


def _moved(
    cursor: CursorWrapper, changes: Sequence[StatusChange], before: Mapping[int, Before]
) -> Moved:
    steady, returned = [], []
    for change in changes:
        was = before.get(change.device_id)
        if was is None or was.state == change.state:
            steady.append(change)
        else:
            returned.append((change, was))
    cursor.execute(HEARD_HOW, {"ids": _array([change.device_id for change, _ in returned])})
    how = {device_id: row for device_id, *row in cursor.fetchall()}
    return Moved(
        steady, [Returned(change, *was, *how[change.device_id]) for change, was in returned]
    )


def look_again(cursor: CursorWrapper, *, at: Mapping[int, datetime | None]) -> None:
    """Sets when to look next at these devices; None for an offline device. The caller must have
    locked their rows."""
    cursor.execute(LOOK_AGAIN, {"ids": list(at), "at": list(at.values())})


def lock_due(cursor: CursorWrapper, *, ts: datetime, limit: int) -> list[Due]:
    """Locks and returns the devices that are due at `ts`. Skips rows that another transaction has
    locked: usually a message is being stored for them."""
    cursor.execute(LOCK_DUE, {"ts": ts, "limit": limit})
    return [Due._make([*row[:-4], _refused(row)]) for row in cursor.fetchall()]


def lock_chosen(cursor: CursorWrapper, *, ids: Collection[int]) -> list[Chosen]:
    cursor.execute(LOCK_BY_ID, {"ids": list(ids)})
    return [Chosen._make([*row[:-4], _refused(row)]) for row in cursor.fetchall()]


def lock_pause_over(cursor: CursorWrapper, *, ts: datetime) -> list[Chosen]:
    """Locks and returns the paused devices whose pause ends by `ts`. Skips locked rows."""
    cursor.execute(LOCK_PAUSE_OVER, {"ts": ts})
    return [Chosen._make([*row[:-4], _refused(row)]) for row in cursor.fetchall()]


def _refused(row: Sequence[Any]) -> Refused | None:
    """The last four columns of a row of LOCK_DUE or LOCK_CHOSEN."""
    return None if row[-4] is None else Refused(*row[-4:])


def excuse_silence(cursor: CursorWrapper, *, ids: Sequence[int], ts: datetime) -> None:
    """Counts the devices' silence only from `ts` on. The caller must have locked their rows."""
    cursor.execute(EXCUSE_SILENCE, {"ids": list(ids), "ts": ts})


def set_pause_end(cursor: CursorWrapper, *, ids: Sequence[int], until: datetime | None) -> None:
    """Sets when the devices' pauses end; None: only when somebody resumes them."""
    cursor.execute(SET_PAUSE_END, {"ids": list(ids), "until": until})


def set_reasons(cursor: CursorWrapper, *, words: Mapping[int, str]) -> list[StatusChange]:
    """Writes new reasons for states that stay. The caller must have locked the rows."""
    cursor.execute(SET_REASONS, {"ids": list(words), "reasons": list(words.values())})
    return [StatusChange(*row) for row in cursor.fetchall()]


def set_states(
    cursor: CursorWrapper,
    *,
    transitions: Sequence[PresenceTransition],
    look_at: Mapping[int, datetime | None],
) -> list[StatusChange]:
    """Writes the new states, and by device when a sweep next looks at it. The caller must have
    locked the rows."""
    cursor.execute(
        SET_STATES,
        {
            "ids": [one.device_id for one in transitions],
            "states": [one.state for one in transitions],
            "since": [one.time for one in transitions],
            "reasons": [one.reason for one in transitions],
            "look_at": [look_at.get(one.device_id) for one in transitions],
        },
    )
    return [StatusChange(*row) for row in cursor.fetchall()]
