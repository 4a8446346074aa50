"""Entries in the stream, and the drain that stores them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.db import connection

from devices.models import Device
from ingest.ledger.balances import COUNTED
from ingest.models import LedgerMinute
from ingest.storage.drain import drain_run
from ingest.stream import shards
from ingest.stream.entries import EntryReading, ReadingsEntry, encode
from tests.conftest import Fleet


@cache
def moment() -> datetime:
    """The time at which all messages of a test are sent."""
    return datetime.now(UTC).replace(microsecond=0)


def drain(turn: str | None = None) -> str | None:
    return drain_run(shard=0, run_s=0.05, turn=turn)


def reading(device: Device, seconds: float = 0, **metrics: Any) -> EntryReading:
    body = b'{"temp_c": 21.5}' if not metrics else str(metrics).replace("'", '"').encode()
    return EntryReading(
        device.pk, moment() + timedelta(seconds=seconds), None, "telemetry", None, body
    )


def append(fleet: Fleet, *readings: EntryReading, **fields: Any) -> None:
    shards.append(ReadingsEntry(fleet.tenant.pk, moment(), None, list(readings), **fields))


def ledger(fleet: Fleet) -> dict[str, int]:
    """The tenant's sums that are not 0."""
    rows = LedgerMinute.objects.filter(tenant=fleet.tenant)
    names = ("accepted", *COUNTED)
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    return {name: count for name, count in sums.items() if count}


@contextmanager
def status_refused(device: Device, what: str) -> Iterator[None]:
    """Makes the database refuse `what` in the device's status, with an error."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'no such status' USING ERRCODE = 'check_violation'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON telemetry_devicestatus FOR EACH ROW"
            f" WHEN (NEW.device_id = {device.pk} AND {what}) EXECUTE FUNCTION refuse()"
        )
        yield
        cursor.execute("DROP FUNCTION refuse CASCADE")


def _encoded(fleet: Fleet, *readings: EntryReading) -> bytes:
    return encode(ReadingsEntry(fleet.tenant.pk, moment(), None, list(readings)))
