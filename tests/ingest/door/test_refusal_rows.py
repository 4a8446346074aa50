"""Refusals in the table: collected each second, kept for their days."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from ingest.door import refusal_rows
from ingest.door.refusal_counts import group_of, refused_key
from ingest.door.refusal_rows import refusal_words, refusals_collect
from ingest.door.refusals import refusals_flush, refusals_note
from ingest.models import Refusal
from ingest.stream import shards
from ingest.tasks import refusals_prune
from tests.conftest import Fleet
from tests.ingest.door.refusing import await_early_in_a_minute, collect, found, refusal_add, rows
from tests.ingest.door.test_refused import OLD
from tests.ingest.door.test_views_heartbeats import post as post_heartbeat
from tests.ingest.door.test_views_readings import post, reading

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory")
Code = Refusal.Code


@pytest.fixture(autouse=True)
def early_in_a_minute(valkey: None) -> None:
    await_early_in_a_minute()


def refuse(client: Client, fleet: Fleet) -> None:
    assert post_heartbeat(client, fleet.key, OLD).status_code == 400


def minutes_of(fleet: Fleet) -> dict[bytes, bytes]:
    client: Any = shards.connection()
    return dict(client.hgetall(refused_key(group_of(fleet.tenant.pk), "minutes")))


def move_minute(fleet: Fleet, minutes: int) -> None:
    """Makes the counts of the only minute older by this many minutes."""
    group = group_of(fleet.tenant.pk)
    client: Any = shards.connection()
    (minute,) = (int(name) for name in minutes_of(fleet) if name != b"all")
    names = minutes_of(fleet)[str(minute).encode()]
    client.rename(refused_key(group, f"m{minute}"), refused_key(group, f"m{minute - minutes}"))
    client.hdel(refused_key(group, "minutes"), minute)
    client.hset(refused_key(group, "minutes"), minute - minutes, names)
    changed = client.smembers(refused_key(group, "changed"))
    client.delete(refused_key(group, "changed"))
    for name in changed:
        rest = name.partition(b":")[2]
        client.sadd(refused_key(group, "changed"), b"%d:%s" % (minute - minutes, rest))


def test_a_minute_of_refusals_is_one_row(client: Client, acme: Fleet) -> None:
    before = timezone.now()
    for _ in range(3):
        refuse(client, acme)
    assert found() == [("acme-phone", "invalid", "time", 3)]
    refuse(client, acme)

    (row,) = rows()
    assert row.count == 4
    assert before - timedelta(seconds=1) <= row.first_at < row.last_at <= timezone.now()
    assert row.minute <= row.first_at < row.minute + timedelta(minutes=1)


def test_collecting_again_writes_nothing_twice(client: Client, acme: Fleet) -> None:
    refuse(client, acme)
    refusals_flush()

    assert [refusals_collect(), refusals_collect()] == [1, 0]
    assert Refusal.objects.get().count == 1


def test_what_was_taken_and_not_stored_is_stored_later(
    client: Client, acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(client, acme)
    refusals_flush()
    with monkeypatch.context() as patched:
        patched.setattr(refusal_rows, "UPSERT", "SELECT 1/0, %(tenants)s")
        with pytest.raises(Exception, match="division by zero"):
            refusals_collect()
    refuse(client, acme)
    refuse(client, acme)

    assert found() == [("acme-phone", "invalid", "time", 3)]


def test_minutes_that_are_over_are_forgotten_once_they_are_stored(
    client: Client, acme: Fleet
) -> None:
    refuse(client, acme)
    refusals_flush()
    move_minute(acme, 10)

    assert refusals_collect() == 1

    assert minutes_of(acme) == {b"all": b"0"}
    refuse(client, acme)
    assert [row.count for row in rows()] == [1, 1]
    assert len(minutes_of(acme)) == 2


def test_what_could_not_be_stored_for_long_is_not_lost(client: Client, acme: Fleet) -> None:
    refuse(client, acme)
    refusals_flush()
    move_minute(acme, 600)

    assert [row.count for row in rows()] == [1]


def test_presence_is_told_who_spoke(
    client: Client, acme: Fleet, rival: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(refusal_rows, "refused_note", lambda **given: told.append(given))
    refuse(client, acme)
    refuse(client, acme)
    post(client, acme.key, [reading(), {"metrics": {}}])
    post(client, rival.key, reading("other"))
    refusals_note(
        tenant_id=acme.tenant.pk, device=acme.device.pk, code=Code.IGNORED, reason="left out"
    )
    refusals_note(
        tenant_id=rival.tenant.pk, device=rival.device.pk, code=Code.REVOKED_KEY, reason="a key"
    )
    before = timezone.now()
    collect()
    collect()

    first, second = told
    contacts = {(one.device_id, one.accepted): one for one in first["contacts"]}
    refused = contacts[acme.device.pk, False]
    assert (refused.tenant_id, refused.messages) == (acme.tenant.pk, 3)
    assert refused.reason.startswith("`metrics`") and refused.sample == '{"metrics": {}}'
    assert abs((refused.at - before).total_seconds()) < 5
    assert contacts[acme.device.pk, True].reason == "left out"
    assert contacts[rival.device.pk, False].messages == 1
    assert len(contacts) == 3 and second["contacts"] == []
    assert refused.at - timedelta(seconds=5) < first["collected_until"] < timezone.now()
    assert first["collected_until"] < second["collected_until"]


def test_refusals_are_kept_for_their_days(acme: Fleet, settings: LazySettings) -> None:
    settings.REFUSAL_DAYS = 2
    for days in (1, 3):
        refusal_add(acme, Code.INVALID, minute=timezone.now() - timedelta(days=days))

    refusals_prune()

    assert Refusal.objects.get().minute > timezone.now() - timedelta(days=2)


def test_refusals_of_the_deleted_are_dropped(client: Client, acme: Fleet, rival: Fleet) -> None:
    for fleet in (acme, rival):
        refuse(client, fleet)
    acme.device.delete()
    rival.tenant.delete()

    assert found() == []


def test_collecting_costs_few_queries_however_much_was_refused(
    acme: Fleet, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for code in Code:
        for n in range(200):
            refusals_note(
                tenant_id=acme.tenant.pk,
                device=acme.device.pk,
                code=code,
                reason="wrong",
                field=f"$.f{n}",
            )
    refusals_flush()

    with django_assert_max_num_queries(12):
        assert refusals_collect() == 6 * len(Code)


@pytest.mark.parametrize(
    ("code", "count", "words"),
    [
        (Code.INVALID, 1, "`a`: wrong"),
        (Code.REVOKED_KEY, 1, "tried once with `a`: wrong"),
        (Code.REVOKED_KEY, 1200, "tried 1,200 times with `a`: wrong"),
        (Code.IGNORED, 2, "accepted without `a`: wrong"),
    ],
)
def test_reasons_in_words(code: Refusal.Code, count: int, words: str) -> None:
    assert refusal_words(Refusal(code=code, count=count, reason="`a`: wrong")) == words
