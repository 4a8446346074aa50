"""What was not accepted in the end does not count against a limit."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.test import Client

from ingest.door.limits import limits_key
from ingest.mqtt.batch import BatchOutcome
from ingest.stream import nodes, shards
from tests.conftest import Fleet
from tests.ingest.door.limiting import limit_device, limit_tenant, many
from tests.ingest.door.lost_answers import answers_lost
from tests.ingest.door.test_views_heartbeats import assert_problem
from tests.ingest.door.test_views_heartbeats import post as post_heartbeat
from tests.ingest.door.test_views_readings import post, reading
from tests.ingest.mqtt.test_batch import accept, heartbeat, telemetry
from tests.ingest.probes.test_push import push

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory", "keys_not_remembered")


def test_it_answers_503_when_valkey_is_away(
    client: Client, acme: Fleet, settings: LazySettings
) -> None:
    limit_tenant(acme, 1, 1)
    settings.INGEST_STREAM_URL = "redis://127.0.0.1:1/0"
    shards.connection.cache_clear()
    try:
        assert_problem(post(client, acme.key, reading()), 503)
        assert_problem(post_heartbeat(client, acme.key), 503)
    finally:
        settings.INGEST_STREAM_URL = settings.VALKEY_URL
        shards.connection.cache_clear()


def test_what_the_stream_has_no_room_for_does_not_count(
    client: Client, acme: Fleet, settings: LazySettings
) -> None:
    limit_tenant(acme, 0.01, 4)
    limit_device(acme, 0.01, 4)
    room, settings.INGEST_SHARD_MAX_BYTES = settings.INGEST_SHARD_MAX_BYTES, 0
    for _ in range(5):
        assert post(client, acme.key, reading()).status_code == 503
        with pytest.raises(shards.StreamFull):
            accept(telemetry("acme-phone", {"metrics": {"a": 1}}), heartbeat("acme-phone", {}))
    settings.INGEST_SHARD_MAX_BYTES = room

    assert post(client, acme.key, many(4)).status_code == 202
    assert post(client, acme.key, reading()).status_code == 429


@pytest.fixture
def lost_answers(settings: LazySettings) -> Iterator[None]:
    """Valkey appends, but the answer is lost."""
    with answers_lost() as settings.INGEST_STREAM_URL:
        nodes.connection.cache_clear()
        yield
        settings.INGEST_STREAM_URL = settings.VALKEY_URL
        nodes.connection.cache_clear()


@pytest.mark.usefixtures("lost_answers")
@pytest.mark.parametrize("send", ["readings", "heartbeat", "push", "mqtt"])
def test_what_may_not_have_been_appended_does_not_count_as_it_comes_again(
    client: Client, acme: Fleet, send: str
) -> None:
    limit_tenant(acme, 0.01, 2)
    limit_device(acme, 0.01, 2)
    for _ in range(5):
        match send:
            case "readings":
                assert post(client, acme.key, many(2)).status_code == 503
            case "heartbeat":
                assert post_heartbeat(client, acme.key).status_code == 503
            case "push":
                assert push(client, acme.key, node_id="acme-phone").status_code == 503
            case _:
                with pytest.raises(shards.StreamAway):
                    accept(telemetry("acme-phone", {"metrics": {"a": 1}}))


def test_over_mqtt_a_batch_that_goes_wrong_later_is_not_charged_again(
    acme: Fleet, rival: Fleet
) -> None:
    """Valkey refuses to take from the limit of the second of its tenants."""
    limit_tenant(acme, 0.01, 3)
    limit_device(acme, 0.01, 3)
    limit_tenant(rival, 1)
    batch = [
        telemetry("acme-phone", {"metrics": {"a": 1}}),
        heartbeat("acme-phone", {}),
        heartbeat("acme-phone", {}),
        heartbeat("rival-phone", {}, tenant="rival"),
    ]
    bucket = limits_key(rival.tenant.pk, f"t{rival.tenant.pk}")
    shards.connection().lpush(bucket, "no bucket")
    for _ in range(5):
        with pytest.raises(shards.StreamAway):
            accept(*batch)
    shards.connection().delete(bucket)

    assert accept(*batch) == BatchOutcome(4, [])
