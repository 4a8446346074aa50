"""Any order of retries, joins, conflicts, shards and replays ends in the same rows."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from django.conf import LazySettings
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from devices.fleet.registration import devices_approve
from devices.models import Device
from ingest.ledger.balances import balance_read
from ingest.models import RejectedMessage
from ingest.storage import drain as draining
from ingest.storage.replay import rejected_replay
from telemetry.models import DeviceStatus, Reading
from tests.conftest import Fleet
from tests.ingest.way import append, ledger, now, reading, seconds_ago

pytestmark = pytest.mark.usefixtures("valkey")

NAMES = "abc"
# A message: the seconds by which its time is ago, and its metrics.
Message = tuple[int, dict[str, int]]
messages = st.tuples(
    st.integers(0, 2),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 1), min_size=1),
)
# A request of some messages, a drain of a shard, the request before the last sent again, or a
# replay of everything that is kept.
steps = st.one_of(
    st.lists(messages, min_size=1, max_size=4),
    st.sampled_from(("drain 0", "drain 1", "again", "replay")),
)
numbers = count()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drains wait for no more messages."""
    monkeypatch.setattr(draining, "BLOCK_MS", 1)
    monkeypatch.setattr(draining, "GATHER_S", 0)
    yield


def _drain(shard: int) -> None:
    draining.drain_run(shard=shard, run_s=0.005)


def _replay(fleet: Fleet) -> None:
    kept = RejectedMessage.objects.filter(tenant=fleet.tenant, replayed_at=None)
    rejected_replay(ids=list(kept.values_list("id", flat=True)), by="tester", ts=now())


class _Play:
    """Plays the steps with a new device, and remembers what was sent."""

    def __init__(self, fleet: Fleet, *, is_pending: bool) -> None:
        self.fleet = fleet
        self.device = Device.objects.create(
            tenant=fleet.tenant, device_id=f"device-{next(numbers)}", is_pending=is_pending
        )
        self.ago = seconds_ago(30)
        self.is_pending = is_pending
        self.sent: list[Message] = []
        self._requests: list[Sequence[Message]] = []

    def step(self, step: Sequence[Message] | str) -> None:
        match step:
            case "again":
                if self._requests:
                    self._send(self._requests[-2:][0])
            case "replay":
                _replay(self.fleet)
            case str():
                _drain(int(step[-1]))
            case _:
                self._send(step)

    def _send(self, request: Sequence[Message]) -> None:
        self._requests.append(request)
        self.sent += request
        at = [self.ago.replace(microsecond=seconds) for seconds, _ in request]
        readings = [
            reading(self.device, time, json.dumps(metrics).encode())
            for time, (_, metrics) in zip(at, request, strict=True)
        ]
        append(self.fleet, *readings, is_pending=self.is_pending)

    def stored(self) -> dict[int, dict[str, int]]:
        rows = Reading.objects.filter(device=self.device)
        return {row.time.microsecond: row.metrics for row in rows}


def _play(fleet: Fleet, plan: Sequence[Sequence[Message] | str], *, is_pending: bool) -> _Play:
    play = _Play(fleet, is_pending=is_pending)
    before = Counter(ledger(fleet))
    for step in plan:
        play.step(step)
    _drain(0)
    _drain(1)
    devices_approve(ids=[play.device.pk])
    _replay(fleet)

    rows = play.stored()
    sent: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for second, metrics in play.sent:
        for name, value in metrics.items():
            sent[second][name].add(value)
    assert {second: set(row) for second, row in rows.items()} == {
        second: set(names) for second, names in sent.items()
    }
    assert all(
        value in sent[second][name] for second, row in rows.items() for name, value in row.items()
    )
    differing = sorted(
        (second, sorted(metrics.items()))
        for second, metrics in play.sent
        if any(rows[second][name] != value for name, value in metrics.items())
    )
    kept = RejectedMessage.objects.filter(device=play.device, replayed_at=None)
    assert {one.reason for one in kept} <= {"conflict"}
    listed = sorted(
        (int(body["time"][:-1].partition(".")[2] or 0), sorted(body["metrics"].items()))
        for body in (json.loads(one.payload) for one in kept)
    )
    assert listed == differing

    became = Counter(ledger(fleet))
    became.subtract(before)
    columns = ("stored", "joined", "duplicate", "conflict", "rejected")
    assert sum(became[name] for name in columns) == became["accepted"] == len(play.sent)
    assert (became["stored"], became["conflict"]) == (len(rows), len(differing))
    assert became["rejected"] == 0
    assert balance_read().residual == balance_read().in_flight == 0
    return play


@effort(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, max_size=8), is_pending=st.booleans())
def test_of_two_shards(
    acme: Fleet,
    settings: LazySettings,
    plan: list[list[Message] | str],
    is_pending: bool,
) -> None:
    settings.INGEST_SHARDS = 2
    _play(acme, plan, is_pending=is_pending)


@effort(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, max_size=8))
def test_of_one_shard_where_the_first_value_stays(
    acme: Fleet, plan: list[list[Message] | str]
) -> None:
    play = _play(acme, plan, is_pending=False)

    first: dict[int, dict[str, int]] = defaultdict(dict)
    for second, metrics in play.sent:
        first[second] = metrics | first[second]
    assert play.stored() == first
    latest = DeviceStatus.objects.get(device=play.device)
    shown = {name: value for name, value in (latest.metrics or {}).items()}
    shown |= {name: value for name, (value, _) in (latest.older or {}).items()}
    stored = [row.items() for row in first.values()]
    assert all(any(item in row for row in stored) for item in shown.items())
