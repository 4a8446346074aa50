"""Rows that join others in compressed chunks, where the edition has the columnstore."""

from collections.abc import Iterable
from itertools import chain

import pytest
from django.db.backends.utils import CursorWrapper

from devices.models import Device
from telemetry.models import Heartbeat, Reading
from telemetry.sql import devicestatus, joining
from telemetry.sql.bulk import NULL
from telemetry.sql.reading import IncomingReading
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.sweeping import after
from tests.telemetry.storing import became, heartbeats_store, readings_store
from tests.tenant_tables import compress, is_community

# More rows than may be decompressed by one statement, unless it says otherwise.
ROWS = 300


@pytest.fixture(autouse=True)
def _without_copy(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server for tests of the Community edition has no COPY FROM STDIN."""

    def insert_lines(cursor: CursorWrapper, into: str, lines: Iterable[str]) -> None:
        rows = [[None if cell == NULL else cell for cell in line.split("\t")] for line in lines]
        values = ", ".join(f"({', '.join(['%s'] * len(row))})" for row in rows)
        cursor.execute(f"INSERT INTO {into} VALUES {values}", list(chain(*rows)))

    if is_community():
        for module in (joining, devicestatus):
            monkeypatch.setattr(module, "copy_lines", insert_lines)


def compress_where_possible(table: str) -> None:
    if is_community():
        assert compress(table)


def reading(device: Device, seconds: float, metrics: bytes) -> IncomingReading:
    at = after(seconds)
    ids = (device.pk, device.tenant_id)
    return IncomingReading(*ids, at, at, None, "telemetry", None, metrics)


def test_readings_join_rows_of_compressed_chunks(acme: Fleet) -> None:
    first = [reading(acme.device, n, b'{"a": 1}') for n in range(ROWS)]
    readings_store(readings=first)
    compress_where_possible("telemetry_reading")

    parts: list[tuple[bytes, str]] = [
        (b'{"a": 1}', "duplicate"),
        (b'{"b": 2}', "joined"),
        (b'{"a": 2, "c": 3}', "conflict"),
    ]
    for metrics, expected in parts:
        again = [reading(acme.device, n, metrics) for n in range(ROWS)]
        new = reading(acme.device, ROWS, metrics)
        outcome = became(readings_store(readings=[*again, new][: ROWS + (expected == "joined")]))
        assert outcome == dict.fromkeys(range(ROWS), expected)

    rows = Reading.objects.filter(device=acme.device).order_by("time")
    assert [row.metrics for row in rows] == [{"a": 1, "b": 2, "c": 3}] * ROWS + [{"b": 2}]


def test_heartbeats_join_rows_of_compressed_chunks(acme: Fleet) -> None:
    beats = [heartbeat(acme.device, after(10 * n), battery_pct=50) for n in range(ROWS)]
    heartbeats_store(heartbeats=beats)
    compress_where_possible("telemetry_heartbeat")

    later = [heartbeat(acme.device, after(10 * n + 5), rssi_dbm=-60) for n in range(ROWS)]
    assert became(heartbeats_store(heartbeats=later)) == dict.fromkeys(range(ROWS), "joined")
    assert became(heartbeats_store(heartbeats=later)) == dict.fromkeys(range(ROWS), "duplicate")

    rows = Heartbeat.objects.filter(device=acme.device, battery_pct=50, rssi_dbm=-60)
    assert rows.count() == ROWS
