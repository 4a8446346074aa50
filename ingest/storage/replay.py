"""Replays rejected messages: those that people choose, and those from approved devices.

People request a replay in their tenant's scope, which cannot write history; the worker does it.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from django.db import OperationalError, transaction
from django.db.models import Count, F, Q, QuerySet

from devices.fleet.registration import pending_among
from ingest.ledger.balances import Tally, tally_write
from ingest.messages.errors import InvalidMessage
from ingest.models import RejectedMessage
from ingest.storage.rejected import Reason, Rejection, hindrance, row_of
from ingest.storage.rows import error_words, minute_key, rows_insert, stored_once_more
from telemetry.models import DeviceStatus
from telemetry.sql.heartbeat import IncomingHeartbeat
from telemetry.sql.reading import IncomingReading
from telemetry.storage.batches import statuses_move
from telemetry.storage.heartbeats import heartbeats_insert
from telemetry.storage.readings import readings_insert

log = logging.getLogger(__name__)

# How many messages one transaction replays, and how many one run replays.
AT_ONCE = 500
APPROVED_AT_ONCE = REQUESTED_AT_ONCE = 5000
# A failed replay is tried again after RETRY_FIRST, then after twice as long each time, up to
# RETRY_MOST. After MOST_FAILURES, which takes ten hours, only a person can have it tried again.
RETRY_FIRST = timedelta(seconds=2)
RETRY_MOST = timedelta(hours=1)
MOST_FAILURES = 20
BY_APPROVAL = "approval"
FAILED = (
    "replay_requested_by",
    "replay_failed_at",
    "replay_error",
    "replay_failures",
    "replay_due_at",
)
SETTLED = ("reason", "error", "is_conflict", "replayed_at", "replayed_by", *FAILED)

Row = IncomingHeartbeat | IncomingReading


class ReplayOutcome(NamedTuple):
    """What became of replayed messages; `errors` are the distinct reasons of those that are still
    rejected."""

    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    errors: tuple[str, ...] = ()

    def plus(self, other: "ReplayOutcome") -> "ReplayOutcome":
        return ReplayOutcome(
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
            tuple(dict.fromkeys((*self.errors, *other.errors))),
        )


class ReplayRequest(NamedTuple):
    """The result of a request. `asked` are the ids of the messages that it causes to be replayed.
    The others are counted by who requested them earlier: `under_way` are still waiting for their
    replay, `replayed` are stored."""

    asked: list[int]
    under_way: Mapping[str, int]
    replayed: Mapping[str, int]


@transaction.atomic
def replay_request(*, ids: Sequence[int], by: str) -> ReplayRequest:
    """Requests a replay of the messages, in the name of `by`; it happens within seconds.

    Messages that were replayed, or are being replayed, are left as they are. Messages that wait
    after a failed replay are tried at once, and their failures are counted from 0 again.
    """
    wanted = RejectedMessage.objects.filter(id__in=ids)
    unstored = wanted.filter(replayed_at=None)
    under_way = ~Q(replay_requested_by="") & Q(replay_due_at=None)
    waiting = unstored.exclude(under_way).select_for_update(no_key=True)
    request = ReplayRequest(
        asked=list(waiting.values_list("id", flat=True)),
        under_way=_counts(unstored.filter(under_way), "replay_requested_by"),
        replayed=_counts(wanted.exclude(replayed_at=None), "replayed_by"),
    )
    RejectedMessage.objects.filter(id__in=request.asked).update(
        replay_requested_by=by, replay_failures=0, replay_due_at=None
    )
    return request


def _counts(messages: QuerySet[RejectedMessage], field: str) -> dict[str, int]:
    rows = messages.order_by().values(field).annotate(count=Count("id"))
    return dict(rows.values_list(field, "count"))


def requested_replay(*, ts: datetime) -> ReplayOutcome:
    """Runs the replays that people requested."""
    requested = _due(RejectedMessage.objects.exclude(replay_requested_by=""), ts)
    ids_by_person: dict[str, list[int]] = defaultdict(list)
    for pk, person in requested.values_list("id", "replay_requested_by")[:REQUESTED_AT_ONCE]:
        ids_by_person[person].append(pk)
    outcome = ReplayOutcome()
    for person, ids in ids_by_person.items():
        outcome = outcome.plus(rejected_replay(ids=ids, by=person, ts=ts))
    return outcome


def rejected_replay(*, ids: Sequence[int], by: str, ts: datetime) -> ReplayOutcome:
    """Stores the messages that can be stored now, each once; `by` is who requested it.

    The others stay rejected, with the reason; if an error was the cause, they are tried again
    later, up to MOST_FAILURES times. Messages that were replayed before are ignored.

    A message older than its device's interval and grace does not touch the status, unless it only
    waited for approval. Then the status becomes what it would be if the message had been stored on
    arrival, and the next sweep judges the silence since then.
    """
    outcome = ReplayOutcome()
    for part in _parts(ids):
        outcome = outcome.plus(_replayed(part, by, ts))
    return outcome


def _parts(ids: Sequence[int]) -> Iterator[list[int]]:
    """Groups messages into transactions. The more often they failed, the fewer share one, so
    that one whose error looks like a database outage soon fails alone."""
    failures = RejectedMessage.objects.filter(id__in=ids).values_list("replay_failures", "id")
    for failed, group in groupby(failures.order_by("replay_failures", "id"), key=itemgetter(0)):
        together = max(1, AT_ONCE // 8**failed)
        in_order = [pk for _, pk in group]
        for start in range(0, len(in_order), together):
            yield in_order[start : start + together]


def _replayed(ids: Sequence[int], by: str, ts: datetime) -> ReplayOutcome:
    """Replays messages in one transaction. If an error rolls it back, finds by halving which of
    them cause it, except for an OperationalError: a full disk is not a message's fault."""
    try:
        return stored_once_more(partial(_replay, ids, by, ts))
    except Exception as error:
        if len(ids) == 1 or isinstance(error, OperationalError):
            log.exception("a replay failed and will be tried again; messages: %d", len(ids))
            _failure_note(ids, error, ts)
            return ReplayOutcome()
    middle = len(ids) // 2
    return _replayed(ids[:middle], by, ts).plus(_replayed(ids[middle:], by, ts))


def approved_replay(*, ts: datetime) -> ReplayOutcome:
    """Stores held messages from devices that are approved by now. Leaves out messages whose replay
    a person requested: requested_replay stores them."""
    held = RejectedMessage.objects.filter(
        reason=Reason.PENDING_DEVICE,
        replayed_at=None,
        replay_requested_by="",
        replay_failures__lt=MOST_FAILURES,
        device__is_pending=False,
    )
    ids = _due(held, ts).values_list("id", flat=True)[:APPROVED_AT_ONCE]
    return rejected_replay(ids=list(ids), by=BY_APPROVAL, ts=ts)


def _due(messages: QuerySet[RejectedMessage], ts: datetime) -> QuerySet[RejectedMessage]:
    """The messages to replay now: the oldest first, then those whose replay failed."""
    due = messages.filter(Q(replay_due_at=None) | Q(replay_due_at__lte=ts))
    return due.order_by(F("replay_due_at").asc(nulls_first=True), "id")


@transaction.atomic
def _replay(ids: Sequence[int], by: str, ts: datetime) -> ReplayOutcome:
    waiting = RejectedMessage.objects.select_for_update().filter(id__in=ids, replayed_at=None)
    messages = list(waiting.order_by("id"))
    rows, refused = _rows(messages)
    outcome = ReplayOutcome()
    tallies: dict[int, Tally] = {}
    conflicts = {one.pk for one in messages if one.is_conflict}
    by_shard = sorted((one.shard, one.pk) for one in messages if one.pk in rows)
    for shard, keys in groupby(by_shard, key=lambda pair: pair[0]):
        own = {pk: rows[pk] for _, pk in keys}
        tally, rejections = _insert(list(own.values()))
        refused |= _by_message(own, rejections)
        tallies[shard] = _moved(tally, own, refused, conflicts)
    held = {one.pk for one in messages if one.reason == Reason.PENDING_DEVICE}
    accepted = {pk: row for pk, row in rows.items() if pk not in refused}
    fresh = _fresh_among(accepted, ts)
    heartbeats, readings = _kinds(row for pk, row in accepted.items() if pk in held | fresh)
    statuses_move(heartbeats=heartbeats, readings=readings)
    # After the statuses and shard by shard: the order in which drains lock rows in the ledger.
    for shard, tally in tallies.items():
        tally_write(shard=shard, tally=tally)
        stored = tally.stored.total() + tally.joined.total()
        outcome = outcome.plus(ReplayOutcome(stored, tally.duplicate.total()))
    _settle(messages, refused, by, ts)
    errors = tuple(dict.fromkeys(error for _, error in refused.values()))
    return outcome.plus(ReplayOutcome(rejected=len(refused), errors=errors))


def _rows(
    messages: Sequence[RejectedMessage],
) -> tuple[dict[int, Row], dict[int, tuple[Reason, str]]]:
    """Rows of messages that may be stored, by the messages' ids, and why the others may not."""
    rows: dict[int, Row] = {}
    refused: dict[int, tuple[Reason, str]] = {}
    pending = pending_among(ids={one.device_id for one in messages if one.device_id})
    for message in messages:
        if hindered := hindrance(message.device_id, pending):
            refused[message.pk] = hindered
            continue
        try:
            rows[message.pk] = row_of(message)
        except InvalidMessage as error:
            refused[message.pk] = (Reason.INVALID_DATA, str(error))
    return rows, refused


def _insert(rows: Sequence[Row]) -> tuple[Tally, list[Rejection]]:
    tally = Tally()
    heartbeats, readings = _kinds(rows)
    beats = rows_insert(heartbeats, heartbeats_insert, tally)
    measured = rows_insert(readings, readings_insert, tally)
    return tally, beats.rejections + measured.rejections


def _fresh_among(rows: Mapping[int, Row], ts: datetime) -> Set[int]:
    """The messages within their device's interval and grace; older ones prove nothing now."""
    statuses = DeviceStatus.objects.filter(device_id__in={row.device_id for row in rows.values()})
    allowed = {
        device_id: timedelta(seconds=interval_s + grace_s)
        for device_id, interval_s, grace_s in statuses.values_list(
            "device_id", "interval_s", "grace_s"
        )
    }
    return {
        pk
        for pk, row in rows.items()
        if ts - row.received_at <= allowed.get(row.device_id, timedelta(0))
    }


def _kinds(rows: Iterable[Row]) -> tuple[list[IncomingHeartbeat], list[IncomingReading]]:
    heartbeats: list[IncomingHeartbeat] = []
    readings: list[IncomingReading] = []
    for row in rows:
        if isinstance(row, IncomingHeartbeat):
            heartbeats.append(row)
        else:
            readings.append(row)
    return heartbeats, readings


def _by_message(
    rows: dict[int, Row], rejections: Sequence[Rejection]
) -> dict[int, tuple[Reason, str]]:
    messages = {id(row): pk for pk, row in rows.items()}
    return {messages[id(one.row)]: (one.reason, one.error) for one in rejections}


def _moved(
    tally: Tally,
    rows: Mapping[int, Row],
    refused: Mapping[int, tuple[Reason, str]],
    conflicts: Set[int],
) -> Tally:
    """The tally for the ledger, in which each message has one column: messages now stored leave the
    column in which they were counted. `conflicts` are the messages that were counted as such."""
    moved = Tally(tally.stored, tally.joined, tally.duplicate, late=tally.late)
    for pk, row in rows.items():
        key = minute_key(row)
        if pk not in refused:
            (moved.conflict if pk in conflicts else moved.rejected)[key] -= 1
            moved.replayed[key] += 1
        elif refused[pk][0] == Reason.CONFLICT and pk not in conflicts:
            moved.rejected[key] -= 1
            moved.conflict[key] += 1
    return moved


def _settle(
    messages: Sequence[RejectedMessage],
    refused: dict[int, tuple[Reason, str]],
    by: str,
    ts: datetime,
) -> None:
    for message in messages:
        message.replay_requested_by = ""
        message.replay_failures, message.replay_due_at = 0, None
        if message.pk in refused:
            message.reason, message.error = refused[message.pk]
            message.is_conflict |= message.reason == Reason.CONFLICT
            message.replay_failed_at, message.replay_error = ts, message.error
        else:
            message.replayed_at, message.replayed_by = ts, by
            message.replay_failed_at, message.replay_error = None, ""
    RejectedMessage.objects.bulk_update(messages, SETTLED)


@transaction.atomic
def _failure_note(ids: Sequence[int], error: Exception, ts: datetime) -> None:
    """Records when and why the messages' replay failed, and when it is tried again."""
    failed = RejectedMessage.objects.select_for_update().filter(id__in=ids, replayed_at=None)
    messages = list(failed.order_by("id"))
    for message in messages:
        message.replay_failed_at, message.replay_error = ts, error_words(error)
        message.replay_due_at = ts + min(RETRY_FIRST * 2**message.replay_failures, RETRY_MOST)
        message.replay_failures += 1
        if message.replay_failures >= MOST_FAILURES:
            message.replay_requested_by, message.replay_due_at = "", None
    RejectedMessage.objects.bulk_update(messages, FAILED)
