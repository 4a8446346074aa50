"""Breaches: counted at the door, stored as one row per minute, read by people."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from redis.exceptions import RedisError

from devices.models import Device
from devices.tenancy.access import Role
from ingest.door import breaches
from ingest.door.breaches import breaches_collect, breaches_key, group_of
from ingest.models import LimitBreach
from ingest.stream import shards
from ingest.tasks import breaches_prune
from scripts.waiting import await_condition
from tests.admin import SCOPE_QUERIES, client_of, page, person
from tests.conftest import Fleet
from tests.ingest.door.limiting import limit_device, limit_tenant, many
from tests.ingest.door.test_views_heartbeats import assert_problem
from tests.ingest.door.test_views_heartbeats import post as post_heartbeat
from tests.ingest.door.test_views_readings import post, reading
from tests.ingest.mqtt.test_batch import accept, heartbeat, telemetry
from tests.waits import LIMIT_S

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory")
LIST = "ingest_limitbreach_changelist"
Kind = LimitBreach.Kind


@pytest.fixture(autouse=True)
def early_in_a_minute(valkey: None) -> None:
    """Waits if necessary, so that a test runs within one minute of Valkey's time."""
    client: Any = shards.connection()
    await_condition(lambda: client.time()[0] % 60 < 57, LIMIT_S, "another minute")


def found() -> list[tuple[str, str | None, int, str]]:
    """(kind, device, refused, limit) of each row, once it is collected."""
    breaches_collect()
    order = ("kind", "device_id", "tenant_id", "minute")
    rows = LimitBreach.objects.select_related("device").order_by(*order)
    return [
        (one.kind, one.device.device_id if one.device else None, one.refused, one.limit_words)
        for one in rows
    ]


def counted(fleet: Fleet) -> dict[bytes, bytes]:
    fields: Any = shards.connection().hgetall(breaches_key(group_of(fleet.tenant.pk)))
    return dict(fields)


def add_breach(fleet: Fleet, kind: LimitBreach.Kind, **fields: Any) -> LimitBreach:
    at = timezone.now()
    values: dict[str, Any] = {
        "minute": at.replace(second=0, microsecond=0),
        "limit_words": "2 messages a second, 5 at once",
        "refused": 7,
        "first_at": at,
        "last_at": at,
    }
    return LimitBreach.objects.create(tenant=fleet.tenant, kind=kind, **(values | fields))


def move_minute(fleet: Fleet, minutes: int) -> None:
    """Makes the counts older by this many minutes."""
    key = breaches_key(group_of(fleet.tenant.pk))
    for name, value in counted(fleet).items():
        what, _, minute = name.rpartition(b":")
        shards.connection().hdel(key, name)
        shards.connection().hset(key, b"%s:%d" % (what, int(minute) - minutes), value)


def test_a_window_of_refusals_is_one_row(client: Client, acme: Fleet) -> None:
    limit_tenant(acme, 0.001, 2)
    before = timezone.now()
    post(client, acme.key, many(2))
    for _ in range(3):
        assert post(client, acme.key, many(2)).status_code == 429

    assert found() == [("tenant_rate", None, 6, "0.001 messages a second, 2 at once")]

    (row,) = LimitBreach.objects.all()
    assert row.tenant == acme.tenant
    assert before - timedelta(seconds=1) <= row.first_at < row.last_at <= timezone.now()
    assert row.minute <= row.first_at < row.minute + timedelta(minutes=1)


def test_collecting_again_counts_nothing_twice(client: Client, acme: Fleet) -> None:
    limit_device(acme, 0.001, 1)
    words = "0.001 messages a second, 1 at once"
    post(client, acme.key, many(1))
    post(client, acme.key, many(4))
    assert found() == found() == [("device_rate", "acme-phone", 4, words)]

    post_heartbeat(client, acme.key)

    assert found() == [("device_rate", "acme-phone", 5, words)]


def test_minutes_that_are_over_are_forgotten_once_they_are_stored(
    client: Client, acme: Fleet
) -> None:
    limit_device(acme, 0.001, 1)
    post(client, acme.key, many(1))
    post(client, acme.key, many(2))
    move_minute(acme, 10)

    assert breaches_collect() == 1

    assert counted(acme) == {}
    post(client, acme.key, many(3))
    assert [refused for _, _, refused, _ in found()] == [2, 3]
    assert len(counted(acme)) == 1


def test_what_could_not_be_stored_is_stored_later(
    client: Client, acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_device(acme, 0.001, 1)
    post(client, acme.key, many(1))
    post(client, acme.key, many(2))
    move_minute(acme, 10)
    with monkeypatch.context() as patched:
        patched.setattr(breaches, "UPSERT", "SELECT 1/0, %(tenants)s")
        with pytest.raises(Exception, match="division by zero"):
            breaches_collect()

    assert [refused for _, _, refused, _ in found()] == [2]


def test_a_device_key_naming_another_device_is_a_breach(client: Client, acme: Fleet) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="other")

    assert_problem(post(client, acme.key, [reading("other"), reading("nobody")]), 403)
    assert_problem(post_heartbeat(client, acme.key, '{"device_id": "other"}'), 403)
    assert post(client, acme.key, [reading("other"), reading()]).status_code == 202

    words = "a device's key speaks for that device only"
    assert found() == [("foreign_device", "acme-phone", 4, words)]


def test_over_mqtt_a_message_naming_another_device_is_a_breach(acme: Fleet) -> None:
    accept(
        telemetry("acme-phone", {"device_id": "other", "metrics": {"a": 1}}),
        heartbeat("acme-phone", {"device_id": "other"}),
    )

    assert [one[:3] for one in found()] == [
        ("foreign_device", "acme-phone", 1),
        ("foreign_device", None, 1),
    ]


def test_a_stream_at_its_mark_is_a_breach_of_each_tenant(
    client: Client, acme: Fleet, rival: Fleet, settings: LazySettings
) -> None:
    settings.INGEST_SHARD_MAX_BYTES = 0
    for body in (many(3), many(2)):
        assert_problem(post(client, acme.key, body), 503)
    assert_problem(post_heartbeat(client, rival.key), 503)

    words = "0 MiB wait in a shard"
    assert found() == [("backlog", None, 5, words), ("backlog", None, 1, words)]
    assert {row.tenant_id: row.refused for row in LimitBreach.objects.all()} == {
        acme.tenant.pk: 5,
        rival.tenant.pk: 1,
    }


def test_what_is_refused_stays_refused_if_it_cannot_be_counted(
    client: Client, acme: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def away(*_: Any) -> None:
        raise RedisError("out of memory")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(shards, "run_script", away)
        assert_problem(post(client, acme.key, reading("other")), 403)

    assert "could not count a breach" in caplog.text
    assert found() == []


def test_breaches_are_kept_for_their_days(acme: Fleet, settings: LazySettings) -> None:
    settings.LIMIT_BREACH_DAYS = 2
    for days in (1, 3):
        minute = timezone.now() - timedelta(days=days)
        add_breach(acme, LimitBreach.Kind.TENANT_RATE, minute=minute)

    breaches_prune()

    assert LimitBreach.objects.get().minute > timezone.now() - timedelta(days=2)


def test_breaches_of_the_deleted_are_dropped(client: Client, acme: Fleet, rival: Fleet) -> None:
    for fleet in (acme, rival):
        post(client, fleet.key, reading("other"))
    acme.device.delete()
    rival.tenant.delete()

    assert found() == []


def test_the_list_says_which_limit_it_was(client: Client, acme: Fleet, rival: Fleet) -> None:
    for kind in Kind:
        add_breach(acme, kind, device=acme.device if "device" in kind else None)
    add_breach(rival, Kind.TENANT_RATE, limit_words="9 messages a second, 9 at once")

    content = client_of(acme.manager).get(page(LIST)).content.decode()

    assert "All devices together sent more than 2 messages a second, 5 at once" in content
    assert "acme-phone sent more than 2 messages a second, 5 at once" in content
    assert "acme-phone spoke for another device" in content
    assert "Messages came faster than they were stored" in content
    assert "9 messages" not in content and "rival" not in content.lower()


def test_the_list_is_filtered(acme: Fleet, rival: Fleet, operator: User) -> None:
    long_ago = timezone.now() - timedelta(days=3)
    of_device = add_breach(acme, Kind.DEVICE_RATE, device=acme.device)
    of_tenant = add_breach(acme, Kind.TENANT_RATE, minute=long_ago, last_at=long_ago)
    of_rival = add_breach(rival, Kind.BACKLOG)
    client = client_of(operator)

    def shown(**asked: Any) -> set[int]:
        return {row.pk for row in client.get(page(LIST), asked).context["cl"].result_list}

    assert shown() == {of_device.pk, of_tenant.pk, of_rival.pk}
    assert shown(kind__exact="tenant_rate") == {of_tenant.pk}
    assert shown(tenant__id__exact=rival.tenant.pk) == {of_rival.pk}
    assert shown(device__id__exact=acme.device.pk) == {of_device.pk}
    assert shown(since="hour") == shown(since="day") == {of_device.pk, of_rival.pk}
    assert shown(since="week") == {of_device.pk, of_tenant.pk, of_rival.pk}
    assert shown(q="acme-phone") == {of_device.pk}


def test_the_list_names_reasons_of_which_not_all_are_limits(acme: Fleet) -> None:
    add_breach(acme, Kind.FOREIGN_DEVICE, device=acme.device)

    answer = client_of(acme.manager).get(page(LIST))

    content = answer.content.decode()
    assert "Refused messages" in content
    assert ">Reason</label>" in content
    assert content.count("spoke for another device") >= 2


def test_nobody_changes_breaches(acme: Fleet, operator: User) -> None:
    breach = add_breach(acme, Kind.TENANT_RATE)

    for user in (operator, person("owner", (acme.tenant, Role.OWNER))):
        client = client_of(user)
        assert client.get(page("ingest_limitbreach_change", breach.pk)).status_code == 200
        for url in (
            page("ingest_limitbreach_change", breach.pk),
            page("ingest_limitbreach_delete", breach.pk),
            page("ingest_limitbreach_add"),
        ):
            assert client.post(url, {"refused": 0, "post": "yes"}).status_code == 403
    assert LimitBreach.objects.get().refused == 7


def test_a_breach_of_another_tenant_is_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    breach = add_breach(acme, Kind.TENANT_RATE)
    client = client_of(rival.manager)

    for view in ("change", "history"):
        answer = client.get(page(f"ingest_limitbreach_{view}", breach.pk))
        assert answer.status_code in (302, 403)
    assert list(client.get(page(LIST)).context["cl"].result_list) == []


def test_pages_keep_to_their_budget_of_queries(
    acme: Fleet, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for minutes in range(30):
        minute = timezone.now() - timedelta(minutes=minutes)
        add_breach(acme, Kind.DEVICE_RATE, device=acme.device, minute=minute)
    client = client_of(acme.manager)

    with django_assert_max_num_queries(5 + SCOPE_QUERIES):
        assert client.get(page(LIST)).status_code == 200


def test_the_page_of_a_device_shows_what_its_limit_refused(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_presence", acme.device.pk)
    assert "Refused messages <span>" not in client.get(url).content.decode()
    add_breach(acme, Kind.DEVICE_RATE, device=acme.device, refused=1234)

    content = client.get(url).content.decode()

    assert "Refused messages <span>" in content
    assert "1,234 messages" in content
    assert "acme-phone sent more than 2 messages a second, 5 at once" in content


def test_a_device_is_deleted_with_its_breaches(acme: Fleet) -> None:
    add_breach(acme, Kind.DEVICE_RATE, device=acme.device)
    url = page("devices_device_delete", acme.device.pk)

    assert client_of(acme.manager).post(url, {"post": "yes"}).status_code == 302
    assert not Device.objects.filter(pk=acme.device.pk).exists()
    assert not LimitBreach.objects.exists()
