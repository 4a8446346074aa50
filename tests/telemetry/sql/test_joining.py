"""Rows that have the same key."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from telemetry.models import Heartbeat, Reading
from telemetry.sql import joining
from telemetry.sql.reading import IncomingReading
from telemetry.storage.readings import readings_insert
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import T0, after, status
from tests.telemetry.storing import became, heartbeats_store, readings_store
from tests.two_at_once import after_waiting_for, at_once


@pytest.fixture(autouse=True, params=["with COPY", "without COPY"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A collision makes the next batches go without COPY. Everything holds on both ways."""
    copy_first = request.param == "with COPY"
    monkeypatch.setattr(joining, "_batches_left", {})
    if not copy_first:
        tables = ("telemetry_reading", "telemetry_heartbeat")
        monkeypatch.setattr(joining, "_batches_left", dict.fromkeys(tables, 1000))
    yield


def reading(device: Device, seconds: float = 0, **metrics: Any) -> IncomingReading:
    at = after(seconds)
    names = hash(frozenset(metrics)) & 0xFFFFFFFF
    return IncomingReading(
        *(device.pk, device.tenant_id, at, at, None, "telemetry", None),
        json.dumps(metrics, separators=(",", ":")).encode(),
        names,
    )


def stored(device: Device, seconds: float = 0) -> dict[str, Any]:
    metrics: dict[str, Any] = Reading.objects.get(device=device, time=after(seconds)).metrics
    return metrics


def test_different_metrics_of_one_moment_share_a_row(acme: Fleet) -> None:
    batch = [reading(acme.device, cpu=97.2), reading(acme.device, load1=0.2)]

    assert became(readings_store(readings=batch)) == {1: "joined"}

    assert stored(acme.device) == {"cpu": 97.2, "load1": 0.2}


def test_a_later_batch_adds_what_is_missing(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, cpu=97.2), reading(acme.device, 1, cpu=1)])

    batch = [
        reading(acme.device, load1=0.2)._replace(site="Accra"),
        reading(acme.device, 1, cpu=1),
        reading(acme.device, 2, cpu=3),
    ]
    assert became(readings_store(readings=batch)) == {0: "joined", 1: "duplicate"}

    assert stored(acme.device) == {"cpu": 97.2, "load1": 0.2}
    assert Reading.objects.get(time=T0).site == "Accra"
    assert [stored(acme.device, n) for n in (1, 2)] == [{"cpu": 1}, {"cpu": 3}]


def test_each_message_of_a_batch_is_judged_by_what_was_there_before_it(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, a=1)])

    batch = [
        reading(acme.device, a=1),
        reading(acme.device, b=2),
        reading(acme.device, a=1, b=2),
        reading(acme.device, a=1, c=3),
        reading(acme.device, b=9, d=4),
        reading(acme.device, d=4),
    ]
    outcome = readings_store(readings=batch)

    assert became(outcome) == {
        0: "duplicate",
        1: "joined",
        2: "duplicate",
        3: "joined",
        4: "conflict",
        5: "duplicate",
    }
    assert outcome.joins[4].words == "b is 2 for this time, and the message says 9"
    assert stored(acme.device) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_the_first_value_stays_and_true_is_not_one(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, on=True, n=1, text="a")])

    outcome = readings_store(readings=[reading(acme.device, on=1, n=1.0, text="b")])

    assert became(outcome) == {0: "conflict"}
    assert outcome.joins[0].words == (
        "on is true for this time, and the message says 1; "
        'text is "a" for this time, and the message says "b"'
    )
    assert stored(acme.device) == {"on": True, "n": 1, "text": "a"}


def test_a_status_shows_of_a_conflict_what_is_stored(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, cpu=97.2)])

    readings_store(readings=[reading(acme.device, cpu=50, load1=0.2)])

    assert status(acme.device).metrics == {"cpu": 97.2, "load1": 0.2}


def test_other_types_and_other_devices_have_rows_of_their_own(acme: Fleet, rival: Fleet) -> None:
    own = reading(acme.device, cpu=1)
    batch = [own, own._replace(msg_type="other"), reading(rival.device, cpu=2)]

    assert became(readings_store(readings=batch)) == {}
    assert Reading.objects.count() == 3


def test_a_row_has_at_most_1024_names(acme: Fleet) -> None:
    def part(start: int, count: int) -> IncomingReading:
        return reading(acme.device, **{f"m{n}": n for n in range(start, start + count)})

    first = readings_store(readings=[part(256 * n, 256) for n in range(4)])
    more = readings_store(readings=[part(1020, 10), part(1000, 24), part(2000, 1)])

    assert became(first) == {1: "joined", 2: "joined", 3: "joined"}
    assert became(more) == {0: "too_wide", 1: "duplicate", 2: "too_wide"}
    assert more.joins[0].words == "its row would have 1030 metrics; at most 1024 fit"
    assert len(stored(acme.device)) == 1024


def test_a_batch_alone_may_have_more_names_than_fit(acme: Fleet) -> None:
    batch = [
        reading(acme.device, **{f"m{n}": n for n in range(start, start + 300)})
        for start in range(0, 1500, 300)
    ]

    outcome = readings_store(readings=batch)

    assert became(outcome) == {1: "joined", 2: "joined", 3: "too_wide", 4: "too_wide"}
    assert len(stored(acme.device)) == 900


def test_heartbeats_of_ten_seconds_share_a_row_with_the_newest_values(acme: Fleet) -> None:
    heartbeats_store(
        heartbeats=[
            heartbeat(acme.device, after(1), battery_pct=50, rssi_dbm=-60, vitals='{"a":1}'),
            heartbeat(acme.device, after(5), battery_pct=49, vitals='{"b":2}'),
        ]
    )
    outcome = heartbeats_store(
        heartbeats=[
            heartbeat(acme.device, after(3), battery_pct=99, version="2", vitals='{"a":9,"b":9}'),
            heartbeat(acme.device, after(9), rssi_dbm=-70, address="10.0.0.7", vitals='{"a":3}'),
            heartbeat(acme.device, after(9), rssi_dbm=-70),
        ]
    )

    assert became(outcome) == {0: "joined", 1: "joined", 2: "duplicate"}
    row = Heartbeat.objects.get(device=acme.device)
    assert (row.battery_pct, row.rssi_dbm, row.version) == (49, -70, "2")
    assert row.vitals == {"a": 3, "b": 2}
    assert (row.time, row.received_at, row.address) == (after(9), after(1), "10.0.0.7")


def test_one_and_true_are_different_vitals(acme: Fleet) -> None:
    heartbeats_store(heartbeats=[heartbeat(acme.device, after(1), vitals='{"door":1}')])
    later = [heartbeat(acme.device, after(2), vitals='{"door":true}')]

    assert became(heartbeats_store(heartbeats=later)) == {0: "joined"}
    assert Heartbeat.objects.get().vitals == {"door": True}


def test_a_retried_heartbeat_that_is_older_changes_nothing(acme: Fleet) -> None:
    first = heartbeat(acme.device, after(2), time=after(1), battery_pct=50)
    newer = heartbeat(acme.device, after(6), time=after(5), battery_pct=49)
    heartbeats_store(heartbeats=[first, newer])

    again = heartbeats_store(heartbeats=[first._replace(received_at=after(9)), newer])

    assert became(again) == {0: "duplicate", 1: "duplicate"}
    assert Heartbeat.objects.get().battery_pct == 49


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_another_shard_joins_its_row(acme: Fleet) -> None:
    # A transaction that creates a chunk blocks others from it until the commit.
    readings_store(readings=[reading(acme.device, -1, cpu=0)])

    second = after_waiting_for(
        lambda: readings_insert([reading(acme.device, a=1, b=2)]),
        lambda: readings_store(
            readings=[reading(acme.device, b=3, c=4), reading(acme.device, 1, d=1)]
        ),
    )

    assert became(second) == {0: "conflict"}
    assert stored(acme.device) == {"a": 1, "b": 2, "c": 4}


@pytest.mark.django_db(transaction=True)
def test_of_values_that_two_shards_add_at_once_one_is_a_conflict(acme: Fleet) -> None:
    readings_store(readings=[reading(acme.device, x=1), reading(acme.device, 1, x=1)])

    second = after_waiting_for(
        lambda: readings_insert([reading(acme.device, y=1), reading(acme.device, 1, y=1)]),
        lambda: readings_store(
            readings=[reading(acme.device, y=2, z=3), reading(acme.device, 1, y=1, z=3)]
        ),
    )

    assert became(second) == {0: "conflict", 1: "joined"}
    assert second.joins[0].words == "y is 1 for this time, and the message says 2"
    assert stored(acme.device) == stored(acme.device, 1) == {"x": 1, "y": 1, "z": 3}
    assert status(acme.device).metrics == {"y": 1, "z": 3}


@pytest.mark.django_db(transaction=True)
def test_a_newer_vital_that_another_shard_adds_meanwhile_stays(acme: Fleet) -> None:
    heartbeats_store(heartbeats=[heartbeat(acme.device, after(1), battery_pct=50)])

    after_waiting_for(
        lambda: heartbeats_store(heartbeats=[heartbeat(acme.device, after(5), battery_pct=49)]),
        lambda: heartbeats_store(heartbeats=[heartbeat(acme.device, after(7), rssi_dbm=-60)]),
    )

    row = Heartbeat.objects.get(device=acme.device)
    assert (row.battery_pct, row.rssi_dbm, row.time) == (49, -60, after(7))


@pytest.mark.parametrize("value", [1e308, -1e308, 1e23, 1.2345678901234567e20, 5e-324, -0.0, 2**63])
def test_a_number_of_any_size_is_a_duplicate_of_itself(acme: Fleet, value: float) -> None:
    again = [reading(acme.device, n=value)]
    readings_store(readings=again)

    assert became(readings_store(readings=again)) == {0: "duplicate"}


def test_many_messages_join_a_wide_row_in_time_that_grows_with_them_only(acme: Fleet) -> None:
    wide: dict[str, Any] = {f"m{n}": "x" * 1000 for n in range(1000)}
    readings_store(readings=[reading(acme.device, **wide)])

    def seconds(count: int) -> float:
        began = perf_counter()
        readings_store(readings=[reading(acme.device, m0="x" * 1000) for _ in range(count)])
        return perf_counter() - began

    # Each message that decoded the megabyte again would take some milliseconds.
    assert seconds(2000) < 5


@pytest.mark.django_db(transaction=True)
def test_shards_that_join_the_same_rows_lose_no_name_and_do_not_deadlock(acme: Fleet) -> None:
    seconds = range(200)
    readings_store(readings=[reading(acme.device, n, first=n) for n in seconds])

    def shard(name: str) -> Any:
        rows = [reading(acme.device, n, **{name: n}) for n in seconds]
        return readings_store(readings=rows if name < "c" else rows[::-1])

    outcomes = at_once(*(partial(shard, name) for name in "abcd"))

    assert [set(became(one).values()) for one in outcomes] == [{"joined"}] * 4
    for n in seconds:
        assert stored(acme.device, n) == {"first": n, **dict.fromkeys("abcd", n)}


def test_rows_in_other_chunks_are_found(acme: Fleet) -> None:
    days = [-timedelta(days=3 * n).total_seconds() for n in range(4)]
    readings_store(readings=[reading(acme.device, day, a=1) for day in days])

    outcome = readings_store(readings=[reading(acme.device, day, b=2) for day in days])

    assert set(became(outcome).values()) == {"joined"} and len(became(outcome)) == 4
    assert all(stored(acme.device, day) == {"a": 1, "b": 2} for day in days)


def test_after_a_collision_the_next_batches_do_not_try_copy(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_batches_left", {})

    def inserts(*seconds: int) -> bool:
        """Whether a batch goes without COPY, which is no query."""
        with CaptureQueriesContext(connection) as queries:
            readings_store(readings=[reading(acme.device, n, cpu=1) for n in seconds])
        return any("INSERT INTO telemetry_reading" in query["sql"] for query in queries)

    assert not inserts(0)
    assert inserts(0, 1)
    assert all(inserts(10 + n) for n in range(joining.BATCHES_WITHOUT_COPY))
    assert not inserts(9)
