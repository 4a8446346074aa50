"""Takes messages from an MQTT broker and acknowledges each after it is on disk in the stream.

Several bridges share the load through a shared subscription. Each has its own name, and with it a
session at the broker. If a bridge dies, the broker later resends whatever it has not acknowledged.
So nothing is lost, but a message may arrive twice.
"""

import logging
import random
import select
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from django.db import InterfaceError, OperationalError, close_old_connections
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.door.authentication import TenantCache
from ingest.mqtt.batch import HEARTBEAT, MAX_BYTES, TELEMETRY, Published, batch_accept
from ingest.mqtt.tally import Tally
from ingest.stream.shards import StreamAway

log = logging.getLogger(__name__)

# The broker sends at most this many messages ahead of our acknowledgements.
RECEIVE_MAXIMUM = 2000
# Nothing is read while more than this is waiting.
MAX_WAITING = 2 * RECEIVE_MAXIMUM
MAX_WAITING_BYTES = 32 * 1024 * 1024
# Messages that arrive within GATHER_S are appended together, up to these sizes. An append waits for
# Valkey's disk once, however large it is, so larger batches are faster on a slow disk.
GATHER_S = 0.005
BATCH_MESSAGES = RECEIVE_MAXIMUM
BATCH_BYTES = 4 * 1024 * 1024

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5
SESSION_NEVER_EXPIRES = 0xFFFFFFFF
# Retained messages came once already, when they were published.
SUBSCRIPTION = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
STOP_WITHIN_S = 10
# A stop is noticed after at most this long.
LOOK_UP_S = 0.5
# A retiring bridge assumes that no more messages come if none came for this long.
RETIRED_AFTER_S = 3.0


class Broker(NamedTuple):
    """The broker's address, and the bridge's credentials there."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    @classmethod
    def from_url(cls, url: str) -> "Broker":
        """From `mqtt://user:password@host:port`, or `mqtts://` for TLS."""
        parts = urlsplit(url)
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname or "127.0.0.1",
            parts.port or (8883 if tls else 1883),
            tls,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
        )


class Backoff:
    """Growing waits, up to `most_s`, with some randomness so that bridges do not retry together."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._delay_s = first_s

    def next_s(self) -> float:
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, self._most_s)
        return delay_s * random.uniform(0.5, 1)

    def reset(self) -> None:
        self._delay_s = self._first_s


@contextmanager
def _corked(line: Any) -> Iterator[None]:
    """Sends everything written inside together. Otherwise paho sends each acknowledgement alone,
    and wakes the broker for each. `line` is paho's socket, or None."""
    if line is None:
        yield
        return
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    try:
        yield
    finally:
        if line.fileno() >= 0:  # it has not been closed meanwhile
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


class _Waiting(NamedTuple):
    mid: int
    qos: int
    published: Published


class Bridge:
    """One connection to the broker, run by one thread: reads, appends, acknowledges.

    Messages that cannot be appended right now wait here. The broker keeps all others, because it
    sends at most RECEIVE_MAXIMUM ahead of our acknowledgements. Messages whose sender the database
    cannot identify are set aside, so that others do not wait for them. With `retire` the bridge
    leaves the shared subscription, takes what the broker still holds for it, and ends its session.
    """

    def __init__(self, *, url: str, share: str, name: str, retire: bool = False) -> None:
        self._broker = Broker.from_url(url)
        self._topics = [f"$share/{share}/{topic}" for topic in (TELEMETRY, HEARTBEAT)]
        self._name = name
        self._retire = retire
        self._client = self._make_client()
        self._tenants = TenantCache()
        self._tally = Tally(name)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0  # including those set aside
        self._aside: list[_Waiting] = []
        self._aside_until = 0.0
        self._aside_backoff = Backoff(0.5, 5)
        self._received = 0
        self._last_at = monotonic()
        self._store_at = 0.0
        self._store_backoff = Backoff(0.1, 5)
        self._connect_at = 0.0
        self._connect_backoff = Backoff(0.2, 10)
        self._stop = threading.Event()

    def run(self) -> None:
        """Runs until `stop` is called or the bridge has retired."""
        while not self._stop.is_set() and not self._has_retired():
            if self._client.socket() is None:
                self._connect()
            else:
                self._exchange()
                self._store_when_due()
            self._tally.report_when_due()
        self._finish()

    def stop(self) -> None:
        """Makes `run` append and acknowledge what has arrived, then return."""
        self._stop.set()

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"rollcall-bridge-{self._name}",
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls:
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    # The connection

    def _connect(self) -> None:
        if (wait_s := self._connect_at - monotonic()) > 0:
            self._stop.wait(wait_s)
            return
        self._connect_at = monotonic() + self._connect_backoff.next_s()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_NEVER_EXPIRES
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        # The broker does not send us larger packets. Oversized messages up to this size reach us,
        # and we log why we refuse them.
        properties.MaximumPacketSize = 4 * MAX_BYTES
        host, port = self._broker.host, self._broker.port
        try:
            self._client.connect(
                host, port, keepalive=KEEPALIVE_S, clean_start=False, properties=properties
            )
        except OSError as error:
            log.warning("the broker at %s:%d cannot be reached: %s", host, port, error)

    def _on_connect(
        self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            log.error("the broker refuses bridge %s: %s", self._name, reason)
            return
        self._connect_backoff.reset()
        self._last_at = monotonic()
        if self._retire:
            client.unsubscribe(self._topics)
        else:
            client.subscribe([(topic, SUBSCRIPTION) for topic in self._topics])

    def _on_subscribe(
        self, client: Any, data: Any, mid: int, reasons: Sequence[ReasonCode], properties: Any
    ) -> None:
        for topic, reason in zip(self._topics, reasons, strict=True):
            if reason.is_failure:
                log.error("the broker refuses the subscription to %s: %s", topic, reason)
                return
        log.info("bridge %s is subscribed at %s", self._name, self._broker.host)

    def _on_disconnect(
        self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        # The broker sends all of these again, with ids from the next connection.
        self._waiting.clear()
        self._aside.clear()
        self._waiting_bytes = 0
        if reason == "Session taken over":
            log.error("another bridge is named %s; each needs its own name", self._name)
        elif not self._stop.is_set():
            log.warning("bridge %s lost the broker: %s", self._name, reason)

    # Reading

    def _exchange(self) -> None:
        """Waits until there is something to read or to write, or to append; reads and writes."""
        wait_s = max(0.0, min(LOOK_UP_S, self._due_at() - monotonic()))
        readable, writable = self._await_socket(reads=self._has_room(), wait_s=wait_s)
        if readable:
            self._read()
        if writable:
            self._client.loop_write()
        self._client.loop_misc()

    def _await_socket(self, *, reads: bool, wait_s: float) -> tuple[bool, bool]:
        """Waits until there is something to read, or until waiting output can be written."""
        sockets: list[Any] = [self._client.socket()]
        writes = self._client.want_write()
        readable, writable, _ = select.select(
            sockets if reads else [], sockets if writes else [], [], wait_s
        )
        return bool(readable), bool(writable)

    def _read(self) -> None:
        """Reads everything that has arrived: paho reads one packet per call."""
        while self._has_room():
            received = self._received
            self._client.loop_read()
            if self._received == received:
                return

    def _has_room(self) -> bool:
        waiting = len(self._waiting) + len(self._aside)
        return waiting < MAX_WAITING and self._waiting_bytes < MAX_WAITING_BYTES

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        self._received += 1
        self._last_at = monotonic()
        if not self._waiting:
            self._store_at = max(self._store_at, self._last_at + GATHER_S)
        published = Published(message.topic, bytes(message.payload), datetime.now(UTC))
        self._waiting.append(_Waiting(message.mid, message.qos, published))
        self._waiting_bytes += len(published.payload)

    # Appending

    def _due_at(self) -> float:
        store_at = self._store_at if self._waiting else float("inf")
        return min(store_at, self._aside_until) if self._aside else store_at

    def _store_when_due(self) -> None:
        if self._aside and monotonic() >= self._aside_until:
            self._waiting.extendleft(reversed(self._aside))
            self._aside.clear()
        while self._waiting and monotonic() >= self._store_at:
            self._store()

    def _store(self) -> None:
        """Appends one batch of the waiting messages, and acknowledges it."""
        batch = self._next_batch()
        try:
            outcome = batch_accept(messages=[one.published for one in batch], tenants=self._tenants)
        except (StreamAway, OperationalError, InterfaceError) as error:
            wait_s = self._store_backoff.next_s()
            self._store_at = monotonic() + wait_s
            log.warning("nothing can be accepted right now, next try in %.1f s: %s", wait_s, error)
            return
        finally:
            close_old_connections()
        self._store_backoff.reset()
        self._tally.add(outcome)
        # Removed first, because a connection that breaks meanwhile empties the queue.
        for _ in batch:
            self._waiting.popleft()
        if outcome.waiting:
            self._set_aside(batch, outcome.waiting)
        elif not self._aside:
            self._aside_backoff.reset()
        self._acknowledge([one for n, one in enumerate(batch) if n not in outcome.waiting])

    def _set_aside(self, batch: Sequence[_Waiting], reasons: Mapping[int, str]) -> None:
        """Tries these messages again later. So they are acknowledged after newer messages, which
        brokers accept."""
        if not self._aside:
            wait_s = self._aside_backoff.next_s()
            self._aside_until = monotonic() + wait_s
            why = "; ".join(sorted(set(reasons.values())))
            words = "cannot look up who sent %d messages; next try in %.1f s: %s"
            log.warning(words, len(reasons), wait_s, why)
        self._aside += [batch[n] for n in sorted(reasons)]

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        for one in self._waiting:
            size += len(one.published.payload)
            if len(batch) == BATCH_MESSAGES or (batch and size > BATCH_BYTES):
                break
            batch.append(one)
        return batch

    def _acknowledge(self, batch: Sequence[_Waiting]) -> None:
        for one in batch:
            self._waiting_bytes -= len(one.published.payload)
        with _corked(self._client.socket()):
            for one in batch:
                self._client.ack(one.mid, one.qos)

    # The end

    def _has_retired(self) -> bool:
        return (
            self._retire
            and self._client.is_connected()
            and not (self._waiting or self._aside)
            and monotonic() - self._last_at > RETIRED_AFTER_S
        )

    def _finish(self) -> None:
        until = monotonic() + STOP_WITHIN_S
        while self._waiting and monotonic() < until:
            self._store()
            if self._waiting:
                sleep(max(0.0, min(self._store_at, until) - monotonic()))
        while self._client.want_write() and self._client.socket() and monotonic() < until:
            self._await_socket(reads=False, wait_s=LOOK_UP_S)
            self._client.loop_write()
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        if self._has_retired():
            properties.SessionExpiryInterval = 0
        self._stop.set()
        self._client.disconnect(properties=properties)
        self._tally.report()
