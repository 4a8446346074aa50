"""Stores heartbeats: history, latest status and presence, in one transaction."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection, transaction

from telemetry import reasons
from telemetry.presence import statuses_announce, transitions_write
from telemetry.sql import devicestatus, heartbeat
from telemetry.sql.devicestatus import Heard
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.presenceevent import PresenceTransition

log = logging.getLogger(__name__)


class StoredHeartbeats(NamedTuple):
    """What became of a batch: `stored + duplicate + unknown` is its length.

    `unknown` are those of devices that were deleted after the heartbeat was accepted.
    """

    stored: int
    duplicate: int
    unknown: int


@transaction.atomic
def heartbeats_store(*, heartbeats: Sequence[IncomingHeartbeat]) -> StoredHeartbeats:
    """Stores each heartbeat once a device and 10 s, and moves latest status forward.

    A heartbeat that is old by its device's clock is stored and touches no status. Storing a batch
    again changes nothing. On commit, statuses_changed is sent for the devices that were heard.
    """
    with connection.cursor() as cursor:
        heartbeat.copy_incoming(cursor, heartbeats)
        devicestatus.lock_incoming(cursor)
        stored = heartbeat.insert_incoming(cursor)
        missing = len(heartbeats) - stored
        unknown = heartbeat.count_of_unknown(cursor) if missing else 0
        heard = devicestatus.move_forward(cursor)
        devicestatus.remember_skew(cursor)
    returned = [_transition(one) for one in heard if one.previous_state != one.change.state]
    steady = [one.change for one in heard if one.previous_state == one.change.state]
    statuses_announce(changes=steady + transitions_write(transitions=returned))
    if unknown:
        log.warning("%d heartbeats of devices deleted meanwhile are not stored", unknown)
    return StoredHeartbeats(stored, missing - unknown, unknown)


def _transition(heard: Heard) -> PresenceTransition:
    change = heard.change
    reason = reasons.heard(
        previous_seen=heard.previous_seen,
        seen=change.state_since,
        address=heard.address,
        battery_pct=change.battery_pct,
        clock_skew_s=heard.clock_skew_s,
    )
    return PresenceTransition(
        device_id=change.device_id,
        time=change.state_since,
        tenant_id=change.tenant_id,
        previous_state=heard.previous_state,
        state=change.state,
        reason=reason,
    )
