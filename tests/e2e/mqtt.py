"""Clients that publish to the stack's broker."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from devices.fleet.keys import (
    PREFIX_LENGTH,
    SECRET_LENGTH,
    mqtt_password_hash,
    secret_hash,
)
from ingest.mqtt.access import mqtt_username
from scripts.bridges import Bridges
from scripts.mosquitto import Mosquitto
from scripts.waiting import await_condition
from tests.stack_data import StackDevice, add_devices, add_tenant, query
from tests.waits import LIMIT_S


class Publisher:
    """A connection to the broker that publishes with QoS 1 and remembers the answers."""

    def __init__(
        self,
        broker: Mosquitto,
        username: str | None,
        password: str | None,
        *,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        """`will` is the topic and the payload of a retained will."""
        self.refused: ReasonCode | None = None
        self._answers: dict[int, ReasonCode] = {}
        self._connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._client.username_pw_set(username, password)
        if will:
            self._client.will_set(*will, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._connected.wait(LIMIT_S)

    def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False
    ) -> int:
        """Sends a message; returns its number."""
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    def acknowledged(self) -> set[int]:
        """The numbers of the messages that the broker has taken."""
        return {mid for mid, reason in self._answers.copy().items() if not reason.is_failure}

    def answers(self, mids: Sequence[int]) -> list[str]:
        """Waits for the answers to these messages; returns them in the same order."""
        await_condition(
            lambda: all(mid in self._answers for mid in mids), LIMIT_S, "the broker to answer"
        )
        return [str(self._answers[mid]) for mid in mids]

    def listen(self, topics: Sequence[str]) -> list[str]:
        """Subscribes to these topics; returns a list that collects the topic of each message."""
        heard: list[str] = []
        self._client.on_message = lambda client, data, message: heard.append(message.topic)
        self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
        return heard

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def drop(self) -> None:
        """Breaks the connection without a word, so that the broker publishes the will."""
        self._client.loop_stop()
        line = self._client.socket()
        assert line is not None
        line.close()

    def _on_connect(
        self, client: object, data: object, flags: object, reason: ReasonCode, properties: object
    ) -> None:
        self.refused = reason if reason.is_failure else None
        self._connected.set()

    def _on_publish(
        self, client: object, data: object, mid: int, reason: ReasonCode, properties: object
    ) -> None:
        self._answers[mid] = reason


@dataclass(frozen=True)
class Fleet:
    """A tenant of the stack whose devices and gateway may publish."""

    tenant_id: int
    slug: str
    devices: list[StackDevice]
    gateway: str
    gateway_key: str

    def topic(self, device: StackDevice, kind: str = "telemetry") -> str:
        return f"tenant/{self.slug}/device/{device.device_id}/{kind}"

    def device_publisher(self, broker: Mosquitto, device: StackDevice) -> Publisher:
        """The device's own connection, once the broker knows its key."""
        username = mqtt_username(tenant=self.slug, device_id=device.device_id)
        return publisher_await(broker, username, device.key)

    def gateway_publisher(self, broker: Mosquitto) -> Publisher:
        """A gateway's connection, once the broker knows its key."""
        return publisher_await(broker, self.gateway, self.gateway_key)


def add_fleet(bridges: Bridges, names: Sequence[str]) -> Fleet:
    """A tenant with devices and a gateway that the broker knows."""
    stack = bridges.stack
    tenant_id = add_tenant(stack)
    ((slug,),) = query(stack, "SELECT slug FROM devices_tenant WHERE id = %s", tenant_id)
    devices = add_devices(stack, tenant_id, names)
    prefix, secret = (secrets.token_hex(n // 2) for n in (PREFIX_LENGTH, SECRET_LENGTH))
    key = f"rc_{prefix}_{secret}"
    query(
        stack,
        "INSERT INTO devices_credential (tenant_id, prefix, secret_sha256, mqtt_password_hash, "
        "label, created_at) VALUES (%s, %s, %s, %s, '', now())",
        tenant_id,
        prefix,
        secret_hash(secret),
        mqtt_password_hash(key),
    )
    bridges.grant_now()
    return Fleet(tenant_id, slug, devices, f"{slug}/gateway/{prefix}", key)


def publisher_await(broker: Mosquitto, username: str, key: str) -> Publisher:
    """A connection, as soon as the broker accepts this user."""
    let_in: list[Publisher] = []

    def is_let_in() -> bool:
        publisher = Publisher(broker, username, key)
        if publisher.refused is None:
            let_in.append(publisher)
        else:
            publisher.close()
        return bool(let_in)

    await_condition(is_let_in, LIMIT_S, f"the broker to let {username} in")
    return let_in[0]
