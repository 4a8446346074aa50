"""Rejected messages, and their replay."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from devices.models import Device
from ingest.models import RejectedMessage
from ingest.storage.rejected import rejected_edit
from ingest.storage.replay import (
    ReplayOutcome,
    rejected_replay,
)
from tests.conftest import Fleet
from tests.ingest.way import (
    REFUSED,
    append,
    drain,
    now,
    reading,
    seconds_ago,
)


def replay(*messages: RejectedMessage) -> ReplayOutcome:
    return rejected_replay(ids=[one.pk for one in messages], by="tester", ts=timezone.now())


def refused(fleet: Fleet, age_s: float = 0) -> RejectedMessage:
    """A reading that the database refused, as a rejected message."""
    at = seconds_ago(age_s)
    append(fleet, reading(fleet.device, at, REFUSED), received_at=at)
    drain()
    return RejectedMessage.objects.filter(tenant=fleet.tenant).latest("pk")


def mended(fleet: Fleet, age_s: float = 0) -> RejectedMessage:
    message = refused(fleet, age_s)
    assert rejected_edit(message=message, payload=message.payload.replace("\\u0000", " "))
    return message


def held(fleet: Fleet, *seconds: float) -> list[RejectedMessage]:
    """Readings of a device that is not approved yet, so many seconds old."""
    Device.objects.filter(pk=fleet.device.pk).update(is_pending=True)
    until = now()  # read once: if a second passed in between, two readings could have the same time
    for age_s in seconds:
        at = until - timedelta(seconds=age_s)
        append(fleet, reading(fleet.device, at), received_at=at, is_pending=True)
    drain()
    return list(RejectedMessage.objects.filter(tenant=fleet.tenant).order_by("pk"))


@contextmanager
def unstorable(device: Device, error: str) -> Iterator[None]:
    """Makes every reading of the device impossible to store."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION unstorable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'no space left on device' USING ERRCODE = '{error}'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER unstorable BEFORE INSERT ON telemetry_reading"
            f" FOR EACH ROW WHEN (NEW.device_id = {device.pk:d}) EXECUTE FUNCTION unstorable()"
        )
        yield
        cursor.execute("DROP FUNCTION unstorable() CASCADE")
