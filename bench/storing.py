"""How many messages one process stores per second: the drain's part, without servers and stream.

Three kinds of load from 2,000 devices: heartbeats 10 s apart, each of which is a row; heartbeats
one second apart, nine of ten of which join a row; and readings with 64 metrics. They take turns, so
that the ratios do not depend on what else the machine does.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import msgspec

from bench.report import Figure
from bench.subject import Subject

DEVICES = 2000
BATCHES = 30
ROUNDS = 3
MUST_JOINED = 0.8


async def measure(subject: Subject) -> list[Figure]:
    command = [sys.executable, "-m", "bench.storing"]
    done = subprocess.run(command, env=subject.stack.env, check=True, stdout=subprocess.PIPE)
    per_s = msgspec.json.decode(done.stdout, type=dict[str, list[float]])
    spaced, joined, wide = (max(per_s[name]) for name in ("spaced", "joined", "wide"))
    how = f"best of {ROUNDS} rounds of {BATCHES} batches from {DEVICES:,} devices"
    return [
        Figure(name="heartbeats 10 s apart, stored", value=spaced, unit="/s", how=how),
        Figure(
            name="… one second apart, joined",
            value=joined / spaced,
            unit="×",
            must=MUST_JOINED,
            how=f"{joined:,.0f}/s",
        ),
        Figure(name="readings with 64 metrics, stored", value=wide, unit="/s", how=how),
    ]


def main() -> None:
    """Prints the messages stored per second in each round, by kind of load."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    per_s: dict[str, list[float]] = {"spaced": [], "joined": [], "wide": []}
    begin = datetime.now(UTC) - timedelta(hours=1)
    for _ in range(ROUNDS):
        for name, apart_s in (("spaced", 10), ("joined", 1), ("wide", 1)):
            make = _readings if name == "wide" else _heartbeats
            batches = [make(begin + timedelta(seconds=apart_s * n)) for n in range(BATCHES)]
            began = perf_counter()
            for batch in batches:
                _store(**batch)
            per_s[name].append(BATCHES * DEVICES / (perf_counter() - began))
            begin += timedelta(seconds=10 * BATCHES)
    sys.stdout.buffer.write(msgspec.json.encode(per_s))


def _store(**rows: Sequence[Any]) -> None:
    from django.db import transaction

    from telemetry.storage.batches import statuses_move
    from telemetry.storage.heartbeats import heartbeats_insert
    from telemetry.storage.readings import readings_insert

    with transaction.atomic():
        if "heartbeats" in rows:
            heartbeats_insert(rows["heartbeats"])
        else:
            readings_insert(rows["readings"])
        statuses_move(**rows)


def _heartbeats(at: datetime) -> dict[str, Sequence[Any]]:
    from telemetry.sql.heartbeat import IncomingHeartbeat
    from telemetry.vitals import NONE_NAMED

    named = (float(at.second), *NONE_NAMED[1:])
    return {
        "heartbeats": [
            IncomingHeartbeat(device_id, tenant_id, at, at, None, named, None)
            for device_id, tenant_id in _devices()
        ]
    }


def _readings(at: datetime) -> dict[str, Sequence[Any]]:
    from telemetry.sql.reading import IncomingReading

    metrics = msgspec.json.encode({f"metric_{n}": n + at.second for n in range(64)})
    return {
        "readings": [
            IncomingReading(device_id, tenant_id, at, at, None, "telemetry", None, metrics)
            for device_id, tenant_id in _devices()
        ]
    }


def _devices() -> Iterator[tuple[int, int]]:
    from devices.models import Device

    return Device.objects.order_by("id").values_list("id", "tenant_id")[:DEVICES].iterator()


if __name__ == "__main__":
    main()
