"""From a device's MQTT message into the database, through a real broker and real bridges."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.conf import settings
from paho.mqtt.enums import MQTTProtocolVersion

from ingest.mqtt.access import mqtt_username
from scripts.bridges import Bridges
from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.mqtt import Fleet, Publisher, add_fleet
from tests.stack_data import StackDevice, add_devices, add_tenant, query
from tests.waits import LIMIT_S

TAKEN = "Success"
NOT_AUTHORIZED = "Not authorized"
MESSAGES = 10_000
DEVICES = 500
KILLS = 3
SENT_MEANWHILE = 200
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)


@pytest.fixture(scope="module")
def bridges(stack: Stack) -> Iterator[Bridges]:
    running = Bridges(stack)
    running.up()
    yield running
    running.down()


def telemetry(**fields: object) -> bytes:
    return json.dumps({"metrics": {"temp_c": 21.5}, **fields}).encode()


def stored(stack: Stack, device: StackDevice) -> list[tuple[int | None, str | None, object]]:
    """(seq, site, metrics) of all readings of the device, in the order of their times."""
    statement = (
        "SELECT seq, site, metrics FROM telemetry_reading WHERE device_id = %s ORDER BY time"
    )
    return [(seq, site, metrics) for seq, site, metrics in query(stack, statement, device.id)]


def await_seqs(stack: Stack, device: StackDevice, seqs: list[int]) -> None:
    await_condition(
        lambda: [seq for seq, _, _ in stored(stack, device)] == seqs,
        LIMIT_S,
        f"the readings {seqs} of {device.device_id}",
    )


def await_battery(stack: Stack, device: StackDevice, pct: float) -> None:
    status = "SELECT battery_pct FROM telemetry_devicestatus WHERE device_id = %s"
    await_condition(lambda: query(stack, status, device.id) == [(pct,)], LIMIT_S, "the heartbeat")


def await_taken(publisher: Publisher, number: int) -> None:
    """Waits until the broker has acknowledged so many messages."""
    await_condition(
        lambda: len(publisher.acknowledged()) >= number, 30, f"the broker to take {number}"
    )


def count(stack: Stack, fleet: Fleet) -> int:
    statement = "SELECT count(*) FROM telemetry_reading WHERE tenant_id = %s"
    return int(query(stack, statement, fleet.tenant_id)[0][0])


@pytest.mark.parametrize("name", ["probe-1", "00:1b:44:11:3a:b7"])
def test_telemetry_and_a_heartbeat_of_a_device_arrive(bridges: Bridges, name: str) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, [name])
    (device,) = fleet.devices
    publisher = fleet.device_publisher(bridges.broker, device)

    mids = [
        publisher.publish(fleet.topic(device), telemetry(site_id="north", seq=1)),
        publisher.publish(fleet.topic(device), b"[" + telemetry(seq=2) + b"]"),
        publisher.publish(fleet.topic(device, "heartbeat"), b'{"battery_pct": 71.5}'),
    ]

    assert publisher.answers(mids) == [TAKEN] * 3
    publisher.close()
    await_seqs(stack, device, [1, 2])
    assert stored(stack, device)[0] == (1, "north", {"temp_c": 21.5})
    await_battery(stack, device, 71.5)


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
def test_retained_messages_and_wills_are_accepted_once(
    bridges: Bridges, version: MQTTProtocolVersion
) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, ["d"])
    (device,) = fleet.devices
    username = mqtt_username(tenant=fleet.slug, device_id="d")
    fleet.device_publisher(bridges.broker, device).close()  # the broker knows the key
    will = (fleet.topic(device), telemetry(seq=9))
    publisher = Publisher(bridges.broker, username, device.key, version=version, will=will)

    mids = [
        publisher.publish(fleet.topic(device), telemetry(seq=1), retain=True),
        publisher.publish(fleet.topic(device, "heartbeat"), b'{"battery_pct": 71}', retain=True),
    ]
    assert publisher.answers(mids) == [TAKEN] * 2
    await_seqs(stack, device, [1])
    await_battery(stack, device, 71)
    publisher.drop()
    await_seqs(stack, device, [1, 9])

    # A bridge that subscribes for the first time gets nothing that was retained.
    bridges.start("late")
    publisher = Publisher(bridges.broker, username, device.key, version=version)
    mids = [publisher.publish(fleet.topic(device), telemetry(seq=n)) for n in (10, 11, 12, 13)]
    assert publisher.answers(mids) == [TAKEN] * 4
    publisher.close()
    await_condition(lambda: count(stack, fleet) == 6, LIMIT_S, "all readings")
    bridges.stop("late")
    bridges.retire("late")
    assert sorted(seq or 0 for seq, _, _ in stored(stack, device)) == [1, 9, 10, 11, 12, 13]


def test_a_device_that_speaks_mqtt_3_1_1_is_heard_with_each_quality_of_service(
    bridges: Bridges,
) -> None:
    fleet = add_fleet(bridges, ["old"])
    (device,) = fleet.devices
    fleet.device_publisher(bridges.broker, device).close()
    username = mqtt_username(tenant=fleet.slug, device_id="old")
    publisher = Publisher(
        bridges.broker, username, device.key, version=MQTTProtocolVersion.MQTTv311
    )

    for qos in (0, 1, 2):
        publisher.publish(fleet.topic(device), telemetry(seq=qos), qos=qos)
        await_seqs(bridges.stack, device, list(range(qos + 1)))
    publisher.publish(fleet.topic(device, "heartbeat"), b'{"battery_pct": 12}', qos=0)
    await_battery(bridges.stack, device, 12)
    publisher.close()


def test_what_small_clients_send_is_stored_as_far_as_it_can_be_read(bridges: Bridges) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, ["d"])
    (device,) = fleet.devices
    publisher = fleet.device_publisher(bridges.broker, device)
    good = [telemetry(seq=n) for n in range(8)]

    def publish(payload: bytes, seqs: list[int]) -> None:
        publisher.publish(fleet.topic(device), payload)
        await_seqs(stack, device, seqs)

    publish(b"\xef\xbb\xbf" + good[0] + b"\r\n\0", [0])
    publish(b'[%s, {"metrics": {"a": nan}}, %s]' % (good[1], good[2]), [0, 1, 2])
    publish(b'%s\n{"metrics": {"a": 01}}\n%s\n' % (good[3], good[4]), [0, 1, 2, 3, 4])
    publish(b'{"seq": 5, "metrics": {"temp_c": 21.5, "b": null}}', [0, 1, 2, 3, 4, 5])
    heartbeat = b'{"battery_pct": 33, "rssi_dbm": 99, "x": inf, "time": "2000-01-01T00:00:00Z"}\0'
    publisher.publish(fleet.topic(device, "heartbeat"), heartbeat)
    await_battery(stack, device, 33)
    publisher.close()


def test_a_device_cannot_publish_under_anothers_name(bridges: Bridges) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, ["good", "victim"])
    other = add_fleet(bridges, ["victim"])
    good, victim = fleet.devices
    publisher = fleet.device_publisher(bridges.broker, good)

    def answer_to(topic: str) -> str:
        return publisher.answers([publisher.publish(topic, telemetry(seq=1))])[0]

    assert answer_to(fleet.topic(victim)) == NOT_AUTHORIZED
    assert answer_to(other.topic(other.devices[0])) == NOT_AUTHORIZED
    assert answer_to(fleet.topic(good)) == TAKEN
    publisher.close()
    await_seqs(stack, good, [1])
    assert stored(stack, victim) == stored(stack, other.devices[0]) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("old-name", "new-name"), ("aa:bb:cc:dd:ee:01", "AA-BB-CC-DD-EE-01")],
)
def test_a_renamed_device_signs_in_and_publishes_under_each_of_its_names(
    bridges: Bridges, before: str, after: str
) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, [before, "stranger"])
    device, stranger = fleet.devices
    query(stack, "UPDATE devices_device SET device_id = %s WHERE id = %s", after, device.id)
    bridges.grant_now()

    seqs = iter(range(1, 10))
    for name in (before, after):
        named = replace(device, device_id=name)
        publisher = fleet.device_publisher(bridges.broker, named)
        topics = [fleet.topic(replace(device, device_id=one)) for one in (before, after)]
        mids = [publisher.publish(topic, telemetry(seq=next(seqs))) for topic in topics]
        mids.append(publisher.publish(fleet.topic(stranger), telemetry(seq=0)))
        assert publisher.answers(mids) == [TAKEN, TAKEN, NOT_AUTHORIZED]
        publisher.close()
    await_seqs(stack, device, [1, 2, 3, 4])


def test_a_gateway_publishes_for_all_devices_of_its_own_tenant_only(bridges: Bridges) -> None:
    fleet, other = add_fleet(bridges, ["a", "b"]), add_fleet(bridges, ["a"])
    publisher = fleet.gateway_publisher(bridges.broker)

    mids = [publisher.publish(fleet.topic(device), telemetry(seq=7)) for device in fleet.devices]
    mids.append(publisher.publish(other.topic(other.devices[0]), telemetry(seq=7)))

    assert publisher.answers(mids) == [TAKEN, TAKEN, NOT_AUTHORIZED]
    publisher.close()
    for device in fleet.devices:
        await_seqs(bridges.stack, device, [7])
    assert stored(bridges.stack, other.devices[0]) == []


def test_strangers_and_revoked_keys_are_refused(bridges: Bridges) -> None:
    fleet = add_fleet(bridges, ["phone"])
    (device,) = fleet.devices
    username = f"{fleet.slug}/device/phone"
    fleet.device_publisher(bridges.broker, device).close()

    def refused(username: str | None, password: str | None) -> bool:
        publisher = Publisher(bridges.broker, username, password)
        publisher.close()
        return str(publisher.refused) in (NOT_AUTHORIZED, "Bad user name or password")

    assert refused(None, None)
    assert refused(username, "guess")
    assert refused(f"{fleet.slug}/device/nobody", device.key)
    query(
        bridges.stack,
        "UPDATE devices_credential SET revoked_at = now() WHERE device_id = %s",
        device.id,
    )
    bridges.grant_now()
    await_condition(lambda: refused(username, device.key), LIMIT_S, "the revoked key to be refused")


def test_the_broker_is_told_of_keys_that_are_issued_and_revoked(bridges: Bridges) -> None:
    with bridges.granting():
        tenant_id = add_tenant(bridges.stack)
        (device,) = add_devices(bridges.stack, tenant_id, ["phone"])
        ((slug,),) = query(
            bridges.stack, "SELECT slug FROM devices_tenant WHERE id = %s", tenant_id
        )

        def is_let_in() -> bool:
            publisher = Publisher(bridges.broker, f"{slug}/device/{device.device_id}", device.key)
            publisher.close()
            return publisher.refused is None

        await_condition(is_let_in, LIMIT_S, "the new key to be let in")
        query(
            bridges.stack,
            "UPDATE devices_credential SET revoked_at = now() WHERE device_id = %s",
            device.id,
        )
        await_condition(lambda: not is_let_in(), LIMIT_S, "the revoked key to be refused")


def test_a_device_cannot_read(bridges: Bridges) -> None:
    fleet = add_fleet(bridges, ["spy", "phone"])
    spy, phone = fleet.devices
    listener = fleet.device_publisher(bridges.broker, spy)
    heard = listener.listen(["#", fleet.topic(phone), fleet.topic(spy)])
    publisher = fleet.device_publisher(bridges.broker, phone)

    mids = [publisher.publish(fleet.topic(phone), telemetry(seq=n)) for n in range(3)]
    publisher.answers(mids)
    await_seqs(bridges.stack, phone, [0, 1, 2])

    # Its own message comes after the other device's, and it does not receive that either.
    listener.answers([listener.publish(fleet.topic(spy), telemetry(seq=1))])
    await_seqs(bridges.stack, spy, [1])
    assert heard == []
    listener.close()
    publisher.close()


def test_bad_messages_are_refused_and_the_good_ones_around_them_stored(bridges: Bridges) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, ["d", "other"])
    device, other = fleet.devices
    publisher = fleet.gateway_publisher(bridges.broker)
    unknown = StackDevice(0, "unknown", "")

    good = [publisher.publish(fleet.topic(device), telemetry(seq=n)) for n in range(3)]
    taken = [
        publisher.publish(fleet.topic(device), b"not JSON"),
        publisher.publish(fleet.topic(device), b'{"metrics": {"temp_c": [1]}}'),
        publisher.publish(fleet.topic(device), b""),
        publisher.publish(fleet.topic(device), telemetry(device_id="other")),
        publisher.publish(fleet.topic(device, "heartbeat"), b'{"battery_pct": 200}'),
        publisher.publish(fleet.topic(unknown), telemetry()),
        publisher.publish(fleet.topic(unknown, "heartbeat"), b"{}"),
        publisher.publish(fleet.topic(device), telemetry(pad="x" * 300_000)),
    ]
    last = publisher.publish(fleet.topic(device), b"[" + telemetry(seq=3) + b', {"seq": 4}]')

    assert publisher.answers([*good, *taken, last]) == [TAKEN] * 12
    publisher.close()
    await_seqs(stack, device, [0, 1, 2, 3])
    assert stored(stack, other) == []
    codes = set(re.findall(r"refused \((\w+)\)", bridges.log("1")))
    assert codes == {"too_large", "invalid", "unknown_device", "forbidden"}
    # They were acknowledged: none comes again to a bridge that starts anew.
    bridges.stop("1")
    bridges.start("1")
    publisher = fleet.gateway_publisher(bridges.broker)
    publisher.publish(fleet.topic(device), telemetry(seq=5))
    await_seqs(stack, device, [0, 1, 2, 3, 5])
    publisher.close()
    assert "refused" not in bridges.log("1")


def test_everything_taken_is_stored_once_when_the_bridge_is_killed_meanwhile(
    bridges: Bridges,
) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, [f"d{n}" for n in range(DEVICES)])
    publisher = fleet.gateway_publisher(bridges.broker)
    sent: dict[int, tuple[int, datetime]] = {}
    kill_at = {MESSAGES * (n + 1) // (KILLS + 1) for n in range(KILLS)}
    for n in range(MESSAGES):
        device, time = fleet.devices[n % DEVICES], START + timedelta(seconds=n // DEVICES)
        mid = publisher.publish(fleet.topic(device), telemetry(time=time.isoformat()))
        sent[mid] = (device.id, time)
        if n in kill_at:
            bridges.kill("1")
        elif n - SENT_MEANWHILE in kill_at:
            await_taken(publisher, len(sent))
            assert count(stack, fleet) < len(sent), "nothing was on its way"
            bridges.start("1")
    await_taken(publisher, MESSAGES)
    acknowledged = Counter(sent[mid] for mid in publisher.acknowledged())
    publisher.close()

    await_condition(lambda: count(stack, fleet) >= MESSAGES, LIMIT_S, "all to be stored")
    statement = "SELECT device_id, time FROM telemetry_reading WHERE tenant_id = %s"
    rows = Counter((device, time) for device, time in query(stack, statement, fleet.tenant_id))
    assert rows == acknowledged


def test_the_bridge_finds_the_broker_again(bridges: Bridges) -> None:
    fleet = add_fleet(bridges, ["d"])
    (device,) = fleet.devices
    subscribed = bridges.log("1").count("is subscribed")

    bridges.broker.stop()
    bridges.broker.start()
    bridges.await_subscribed("1", subscribed + 1)

    publisher = fleet.device_publisher(bridges.broker, device)
    assert publisher.answers([publisher.publish(fleet.topic(device), telemetry(seq=1))]) == [TAKEN]
    publisher.close()
    await_seqs(bridges.stack, device, [1])


def test_messages_wait_in_the_broker_while_valkey_is_away(bridges: Bridges) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, ["d"])
    (device,) = fleet.devices
    publisher = fleet.device_publisher(bridges.broker, device)
    stack.kill_service("valkey")
    try:
        mids = [publisher.publish(fleet.topic(device), telemetry(seq=n)) for n in range(50)]
        assert publisher.answers(mids) == [TAKEN] * 50
        await_condition(
            lambda: "nothing can be accepted" in bridges.log("1"), LIMIT_S, "the bridge"
        )
    finally:
        stack.start_service("valkey")
    publisher.close()
    await_seqs(stack, device, list(range(50)))


def test_known_devices_are_accepted_while_an_unseen_one_waits_for_the_database(
    bridges: Bridges,
) -> None:
    stack = bridges.stack
    fleet = add_fleet(bridges, ["known", "unseen"])
    known, unseen = fleet.devices
    publisher = fleet.gateway_publisher(bridges.broker)
    publisher.publish(fleet.topic(known), telemetry(seq=0))
    await_seqs(stack, known, [0])
    valkey = redis.Redis.from_url(stack.env["VALKEY_URL"])

    def accepted() -> int:
        key, shards = f"t{fleet.tenant_id}", range(settings.INGEST_MOST_SHARDS)
        waiting = [valkey.hget(f"ingest:{{{n}}}:waiting", key) for n in shards]
        return sum(int(one) for one in waiting if one)

    stack.kill_service("postgres")
    try:
        for n in range(1, 51):
            publisher.publish(fleet.topic(unseen), telemetry(seq=n))
            publisher.publish(fleet.topic(known), telemetry(seq=n))
        await_condition(lambda: accepted() == 50, LIMIT_S, "the known device's messages")
        await_condition(
            lambda: "50 messages" in bridges.log("1"), LIMIT_S, "the others to be tried"
        )
    finally:
        stack.start_service("postgres")
    await_seqs(stack, known, list(range(51)))
    await_seqs(stack, unseen, list(range(1, 51)))
    # They were acknowledged: none comes again to a bridge that starts anew.
    bridges.stop("1")
    bridges.start("1")
    publisher.publish(fleet.topic(unseen), telemetry(seq=51))
    publisher.close()
    await_seqs(stack, unseen, list(range(1, 52)))
    await_seqs(stack, known, list(range(51)))


def test_two_bridges_share_and_one_retires(bridges: Bridges) -> None:
    fleet = add_fleet(bridges, ["d"])
    (device,) = fleet.devices
    publisher = fleet.device_publisher(bridges.broker, device)
    bridges.start("2")

    def publish(numbers: range) -> None:
        # Each has a different time: two bridges may receive two of them in the same microsecond.
        for n in numbers:
            publisher.publish(fleet.topic(device), telemetry(seq=n, time=START.timestamp() + n))

    publish(range(1000))
    await_condition(lambda: count(bridges.stack, fleet) == 1000, LIMIT_S, "all readings")

    bridges.stop("2")
    assert " 500 messages accepted" in bridges.log("2")
    # The broker keeps a share for it until it is retired.
    publish(range(1000, 1100))
    await_condition(lambda: count(bridges.stack, fleet) == 1050, LIMIT_S, "half of them")
    bridges.retire("2")
    await_condition(lambda: count(bridges.stack, fleet) == 1100, LIMIT_S, "the others")
    publish(range(1100, 1102))
    await_condition(lambda: count(bridges.stack, fleet) == 1102, LIMIT_S, "no share left")
    publisher.close()
