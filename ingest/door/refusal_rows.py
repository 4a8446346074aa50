"""Refused messages in the database: copied from Valkey each second, and read by people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from devices.pruning import rows_prune
from ingest.door.refusal_counts import Contact, Row, Taken, counts_forget, counts_take
from ingest.door.unknown_keys import unknown_keys_prune
from ingest.models import Refusal
from telemetry.presence.refusing import RefusedContact, refused_note

# A process sends its counts each second; this is how much later they may be.
SENT_WITHIN = timedelta(seconds=3)
MAX_REASON = 400

# Totals only grow, so a total that is not larger is known already.
UPSERT = """
INSERT INTO ingest_refusal
    (tenant_id, device_id, code, field, minute, reason, sample, count, first_at, last_at)
SELECT tenant_id, nullif(device, 0), code, field, to_timestamp(minute * 60), reason, sample, count,
       to_timestamp(first_us / 1e6), to_timestamp(last_us / 1e6)
FROM unnest(%(tenants)s::int[], %(devices)s::int[], %(codes)s::text[], %(fields)s::text[],
            %(minutes)s::bigint[], %(reasons)s::text[], %(samples)s::text[], %(counts)s::bigint[],
            %(firsts)s::float8[], %(lasts)s::float8[])
     AS counted (tenant_id, device, code, field, minute, reason, sample, count, first_us, last_us)
WHERE EXISTS (SELECT FROM devices_tenant t WHERE t.id = counted.tenant_id)
  AND (device = 0 OR EXISTS (SELECT FROM devices_device d WHERE d.id = counted.device))
ORDER BY tenant_id, device, minute, code, field
ON CONFLICT (tenant_id, device_id, minute, code, field) DO UPDATE
SET reason = excluded.reason, sample = excluded.sample, count = excluded.count,
    first_at = least(ingest_refusal.first_at, excluded.first_at),
    last_at = greatest(ingest_refusal.last_at, excluded.last_at)
WHERE ingest_refusal.count < excluded.count
"""


def refusals_collect() -> int:
    """Copies what has changed into the table, and tells presence which devices spoke; returns the
    number of totals.

    What cannot be stored stays in Valkey until the next time. Refusals of deleted tenants and
    devices are dropped. Raises RedisError if Valkey is unavailable.
    """
    taken = counts_take()
    rows = [row for one in taken for row in one.rows]
    with transaction.atomic():
        _store(rows)
        refused_note(
            contacts=[_contact(contact) for one in taken for contact in one.contacts],
            collected_until=_collected_until(taken),
        )
    counts_forget(one.group for one in taken if not one.is_empty)
    return len(rows)


def refusals_prune(*, ts: datetime) -> int:
    """Removes refusals older than settings.REFUSAL_DAYS, and unknown keys that nobody tries any
    more; returns how many refusals."""
    unknown_keys_prune(ts=ts)
    before = ts - timedelta(days=settings.REFUSAL_DAYS)
    return rows_prune(Refusal, field="minute", before=before)


def refusals_of(device_id: int, *, since: datetime) -> QuerySet[Refusal]:
    """What was refused of the device, latest first."""
    return Refusal.objects.filter(device=device_id, minute__gte=since).select_related("device")


def refusal_words(refusal: Refusal) -> str:
    """Why these messages were refused."""
    if refusal.code == Refusal.Code.REVOKED_KEY:
        times = "once" if refusal.count == 1 else f"{refusal.count:,} times"
        return f"tried {times} with {refusal.reason}"
    if refusal.code == Refusal.Code.IGNORED:
        return f"accepted without {refusal.reason}"
    return refusal.reason


def _store(rows: Sequence[Row]) -> None:
    if not rows:
        return
    columns: dict[str, list[int] | list[str]] = {
        "tenants": [row.name.tenant_id for row in rows],
        "devices": [row.name.device for row in rows],
        "codes": [row.name.code for row in rows],
        "fields": [row.name.field for row in rows],
        "minutes": [row.minute for row in rows],
        "reasons": [row.total.said.reason[:MAX_REASON] for row in rows],
        "samples": [row.total.said.sample for row in rows],
        "counts": [row.total.refused for row in rows],
        "firsts": [row.total.first_us for row in rows],
        "lasts": [row.total.last_us for row in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(UPSERT, columns)


def _contact(contact: Contact) -> RefusedContact:
    tenant_id, device, accepted, total = contact
    refused, first_us, last_us, said = total
    return RefusedContact(
        device_id=device,
        tenant_id=tenant_id,
        at=_moment(last_us),
        messages=refused,
        reason=said.reason,
        sample=said.sample,
        accepted=accepted,
        since=_moment(first_us),
    )


def _collected_until(taken: Iterable[Taken]) -> datetime:
    """Everything that was refused before this is collected, by Valkey's clock."""
    return _moment(min(one.at_us for one in taken)) - SENT_WITHIN


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
