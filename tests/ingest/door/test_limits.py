"""Limits at the door, with Valkey's own time."""

from collections import Counter
from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from ingest.stream import shards
from scripts.waiting import await_condition
from tests.conftest import Fleet
from tests.ingest.door.limiting import (
    bucket_keys,
    limit_device,
    limit_each_device,
    limit_tenant,
    many,
)
from tests.ingest.door.test_views_heartbeats import assert_problem, waiting
from tests.ingest.door.test_views_heartbeats import post as post_heartbeat
from tests.ingest.door.test_views_readings import post, reading
from tests.ingest.mqtt.test_batch import accept, codes, heartbeat, telemetry
from tests.waits import LIMIT_S

pytestmark = pytest.mark.usefixtures("valkey", "fresh_directory", "keys_not_remembered")


def test_what_is_beyond_the_tenants_burst_is_refused_in_words(client: Client, acme: Fleet) -> None:
    limit_tenant(acme, 0.5, 3)
    assert [post(client, acme.key, reading()).status_code for _ in range(3)] == [202] * 3

    answer = post(client, acme.key, reading())

    problem = assert_problem(answer, 429)
    assert problem["title"] == "Too Many Requests"
    assert problem["detail"] == ("The tenant's limit is reached: 0.5 messages a second, 3 at once.")
    assert answer["Retry-After"] == "2"
    assert len(waiting()) == 3


def test_after_what_retry_after_says_it_is_accepted(client: Client, acme: Fleet) -> None:
    limit_tenant(acme, 1, 1)
    assert post(client, acme.key, reading()).status_code == 202
    answer = post(client, acme.key, reading())
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    (key,) = bucket_keys()

    # A bucket that is full again vanishes, after a second by Valkey's time.
    await_condition(lambda: not shards.connection().exists(key), LIMIT_S, "the bucket to be full")

    assert post(client, acme.key, reading()).status_code == 202


def test_a_bucket_refills_with_time_and_not_at_once(client: Client, acme: Fleet) -> None:
    limit_tenant(acme, 2, 20)
    assert post(client, acme.key, many(20)).status_code == 202
    assert post(client, acme.key, many(20)).status_code == 429

    await_condition(
        lambda: post(client, acme.key, reading()).status_code == 202, LIMIT_S, "one token"
    )

    assert post(client, acme.key, many(20)).status_code == 429


def test_a_batch_larger_than_the_burst_passes_and_leaves_a_debt(
    client: Client, acme: Fleet
) -> None:
    limit_tenant(acme, 10, 5)

    assert post(client, acme.key, many(100)).json()["accepted"] == 100

    answer = post(client, acme.key, reading())
    assert answer.status_code == 429
    # The bucket owes 95 tokens and one more is needed: 96 tokens at 10 per second.
    assert answer["Retry-After"] == "10"


def test_a_batch_that_a_full_bucket_would_let_pass_is_refused_by_one_that_is_not(
    client: Client, acme: Fleet
) -> None:
    limit_tenant(acme, 0.1, 5)
    assert post(client, acme.key, reading()).status_code == 202

    answer = post(client, acme.key, many(100))

    assert (answer.status_code, answer["Retry-After"]) == (429, "10")
    assert post(client, acme.key, many(4)).status_code == 202


def test_what_is_refused_takes_nothing(client: Client, acme: Fleet, gateway: str) -> None:
    limit_tenant(acme, 0.01, 3)
    limit_device(acme, 0.01, 9)
    post(client, acme.key, many(2))
    for _ in range(5):
        assert post(client, acme.key, many(2)).status_code == 429

    assert post(client, acme.key, reading()).status_code == 202
    limit_tenant(acme, 1_000_000)
    assert post(client, acme.key, many(6)).status_code == 202
    assert post(client, acme.key, reading()).status_code == 429


def test_without_a_burst_what_may_come_in_a_second_may_come_at_once(
    client: Client, acme: Fleet
) -> None:
    limit_tenant(acme, 0.25)
    assert post(client, acme.key, reading()).status_code == 202

    detail = assert_problem(post(client, acme.key, reading()), 429)["detail"]

    assert detail == "The tenant's limit is reached: 0.25 messages a second, 1 at once."


def test_heartbeats_count_as_readings_do(client: Client, acme: Fleet) -> None:
    limit_device(acme, 1, 2)
    assert post_heartbeat(client, acme.key).status_code == 202
    assert post(client, acme.key, reading()).status_code == 202

    answer = post_heartbeat(client, acme.key)

    detail = assert_problem(answer, 429)["detail"]
    assert detail == "The device's limit is reached: 1 message a second, 2 at once."
    assert answer["Retry-After"] == "1"


def test_a_device_has_its_own_limit_instead_of_its_tenants(
    client: Client, acme: Fleet, gateway: str
) -> None:
    limit_each_device(acme, 0.1, 2)
    limit_device(acme, 0.1, 4)
    Device.objects.create(tenant=acme.tenant, device_id="other")

    def accepted(device_id: str) -> int:
        answers = (post(client, gateway, reading(device_id)) for _ in range(6))
        return Counter(answer.status_code for answer in answers)[202]

    assert (accepted("acme-phone"), accepted("other")) == (4, 2)


def test_devices_of_a_gateways_batch_are_refused_one_by_one(
    client: Client, acme: Fleet, gateway: str
) -> None:
    limit_each_device(acme, 0.1, 2)
    for name in ("quiet", "loud"):
        Device.objects.create(tenant=acme.tenant, device_id=name)
    post(client, gateway, many(2, "loud"))

    answer = post(
        client,
        gateway,
        [reading("loud"), reading("quiet"), reading("loud"), reading("acme-phone"), {}],
    )

    assert answer.status_code == 202
    body = answer.json()
    assert body["accepted"] == 2
    words = "the device's limit is reached: 0.1 messages a second, 2 at once"
    # Two tokens take 20 s, of which a little has passed.
    assert body["refused"][:2] == [
        {"index": n, "code": "limit", "field": "$", "reason": words, "retry_after_s": 20}
        for n in (0, 2)
    ]
    assert (body["refused"][2]["index"], body["refused"][2]["code"]) == (4, "invalid")


def test_the_whole_request_is_refused_if_limits_leave_nothing(
    client: Client, acme: Fleet, gateway: str
) -> None:
    limit_each_device(acme, 0.1, 1)
    assert post(client, gateway, reading("acme-phone")).status_code == 202

    answer = post(client, gateway, [{}, *many(3, "acme-phone")])

    problem = assert_problem(answer, 429)
    assert problem["detail"] == ("The device's limit is reached: 0.1 messages a second, 1 at once.")
    assert answer["Retry-After"] == "10"
    assert [(one["index"], one["code"]) for one in problem["errors"]] == [
        (0, "invalid"),
        (1, "limit"),
        (2, "limit"),
        (3, "limit"),
    ]


def test_what_a_device_was_refused_does_not_count_against_its_tenant(
    client: Client, acme: Fleet, gateway: str
) -> None:
    limit_tenant(acme, 0.01, 4)
    limit_device(acme, 0.01, 1)
    Device.objects.create(tenant=acme.tenant, device_id="other")
    post(client, gateway, reading("acme-phone"))

    answer = post(client, gateway, [*many(3, "other"), *many(50, "acme-phone")])

    assert answer.json()["accepted"] == 3


def test_tenants_have_limits_of_their_own(client: Client, acme: Fleet, rival: Fleet) -> None:
    limit_tenant(acme, 0.1, 1)
    limit_tenant(rival, 0.1, 1)
    post(client, acme.key, reading())
    assert post(client, acme.key, reading()).status_code == 429

    assert post(client, rival.key, reading()).status_code == 202


def test_where_there_is_no_limit_valkey_is_not_asked(
    client: Client, acme: Fleet, gateway: str
) -> None:
    def calls() -> int:
        return sum(
            stats["calls"]
            for name, stats in shards.connection().info("commandstats").items()
            if "eval" in name
        )

    post(client, gateway, many(2, "acme-phone"))
    before = calls()

    for key in (gateway, acme.key):
        assert post(client, key, many(2, "acme-phone")).status_code == 202
    assert post_heartbeat(client, acme.key).status_code == 202

    assert calls() == before + 3
    assert bucket_keys() == set()


def test_all_keys_of_a_tenant_are_in_one_slot(client: Client, acme: Fleet) -> None:
    limit_tenant(acme, 1, 1)
    limit_device(acme, 1, 1)
    for _ in range(2):
        post(client, acme.key, reading())

    keys: Any = shards.connection().keys("ingest:{limits*")

    assert len(keys) == 2
    assert {key.split(b"}")[0] for key in keys} == {b"ingest:{limits%d" % (acme.tenant.pk % 16)}


def test_the_largest_batch_of_limited_devices_passes(
    client: Client, acme: Fleet, gateway: str
) -> None:
    limit_each_device(acme, 0.001, 1)
    names = [f"d{n}" for n in range(5000)]
    Device.objects.bulk_create(Device(tenant=acme.tenant, device_id=name) for name in names)
    batch = [reading(name) for name in names]

    assert post(client, gateway, batch).json()["accepted"] == 5000
    assert post(client, gateway, batch).status_code == 429


def test_over_mqtt_what_is_beyond_a_limit_is_refused_and_nobody_else(
    acme: Fleet, rival: Fleet
) -> None:
    limit_tenant(acme, 0.1, 2)
    one = telemetry("acme-phone", {"metrics": {"a": 1}})
    others = telemetry("rival-phone", {"metrics": {"a": 1}}, tenant="rival")
    assert accept(one, one).accepted == 2

    outcome = accept(one, heartbeat("acme-phone", {}), others)

    assert (outcome.accepted, codes(outcome)) == (1, ["limit", "limit"])
    words = "the tenant's limit is reached: 0.1 messages a second, 2 at once"
    assert {refused.reason for refused in outcome.refused} == {words}


@pytest.mark.parametrize(
    "message", [telemetry("acme-phone", {"metrics": {"a": 1}}), heartbeat("acme-phone", {})]
)
def test_over_mqtt_a_device_is_refused_alone(acme: Fleet, message: Any) -> None:
    limit_device(acme, 0.1, 1)
    Device.objects.create(tenant=acme.tenant, device_id="other")
    assert accept(message).accepted == 1

    outcome = accept(
        message, telemetry("other", {"metrics": {"a": 1}}), heartbeat("other", {}), message
    )

    assert (outcome.accepted, codes(outcome)) == (2, ["limit", "limit"])
    words = "the device's limit is reached: 0.1 messages a second, 1 at once"
    assert {refused.reason for refused in outcome.refused} == {words}
