"""Counts what the door refuses: in this process's memory first, each second in Valkey, and from
there the worker copies it into the table (ingest.door.refusal_rows).

So a refusal costs neither a query nor a round trip, and a flood of them costs a bounded amount of
memory. A process that is killed loses its last second of these counts; one that ends does not.
"""

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import time_ns
from typing import Any, TypeVar

from redis.exceptions import RedisError

from ingest.door.refusal_counts import (
    MOST_FIELDS,
    MOST_NAMES,
    OTHERS,
    Added,
    Contact,
    Name,
    Said,
    Total,
    contacts_add,
    counts_add,
    group_of,
)
from ingest.door.samples import (
    MAX_REASON,
    SAMPLE_BYTES,
    Sample,
    field_name,
    kept,
    reason_words,
)
from ingest.door.unknown_keys import MOST_KEYS, Tries, shown_of, unknown_keys_add
from ingest.door.unknown_keys import OTHERS as OTHER_KEYS
from ingest.models import Refusal

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 1.0
# How many counts one script adds: Valkey does nothing else meanwhile.
SENT_AT_ONCE = 200
# In all, for all tenants together.
MOST_COUNTS = 20_000
MOST_CONTACTS = 100_000

Code = Refusal.Code
Key = TypeVar("Key")
# Refused, but it may not be the device that speaks, or the reason is not the device's.
NO_CONTACT = frozenset({Code.REVOKED_KEY, Code.BACKLOG})
# Of a message like one before: what was said is known.
UNSAID = Said("", "", "")


@dataclass(slots=True)
class _Count:
    """Messages, when the first and the last came (microseconds since 1970), and what was said."""

    count: int
    first_us: int
    last_us: int
    said: Said

    def add(self, other: "_Count") -> None:
        self.count += other.count
        self.first_us = min(self.first_us, other.first_us)
        if other.last_us >= self.last_us:
            self.last_us = other.last_us
            if other.said is not UNSAID:
                self.said = other.said

    def added(self, now_us: int) -> Added:
        first_ago_us, last_ago_us = (max(0, now_us - at) for at in (self.first_us, self.last_us))
        return Added(self.count, first_ago_us, last_ago_us, self.said)

    def total(self) -> Total:
        return Total(self.count, self.first_us, self.last_us, self.said)


class _Noted:
    """What was refused since it was last sent to Valkey."""

    def __init__(self) -> None:
        self.counts: dict[Name, _Count] = {}
        self.contacts: dict[tuple[int, int, bool], _Count] = {}
        self.unknown: dict[str, Tries] = {}
        self._fields: Counter[tuple[int, int, str]] = Counter()
        self._names: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self.counts or self.contacts or self.unknown)

    def knows(self, name: Name) -> bool:
        """True if a refusal like this one is counted already, so that it needs no sample."""
        return self._bounded(name) in self.counts

    def add(self, name: Name, count: _Count) -> None:
        bounded = self._bounded(name)
        if bounded not in self.counts and bounded.field != OTHERS:
            self._fields[bounded[:3]] += 1
        if bounded not in self.counts:
            self._names[bounded.tenant_id] += 1
        _add(self.counts, bounded, count)

    def add_contact(self, contact: tuple[int, int, bool], count: _Count) -> None:
        if contact in self.contacts or len(self.contacts) < MOST_CONTACTS:
            _add(self.contacts, contact, count)

    def note(self, name: Name, contact: tuple[int, int, bool] | None, count: _Count) -> None:
        self.add(name, count)
        if contact:
            self.add_contact(contact, count)

    def add_unknown(self, shown: str, tries: Tries) -> None:
        if shown not in self.unknown and len(self.unknown) >= MOST_KEYS:
            shown = OTHER_KEYS
        before = self.unknown.get(shown, Tries(0, ""))
        self.unknown[shown] = Tries(before.tries + tries.tries, tries.address)

    def add_all(self, other: "_Noted") -> None:
        """Adds what could not be sent."""
        for name, count in other.counts.items():
            self.add(name, count)
        for contact, count in other.contacts.items():
            self.add_contact(contact, count)
        for shown, tries in other.unknown.items():
            self.add_unknown(shown, tries)

    def _bounded(self, name: Name) -> Name:
        """The name under which this is counted, if there are too many names already."""
        if name in self.counts:
            return name
        if self._fields[name[:3]] >= MOST_FIELDS and name.field != OTHERS:
            name = name._replace(field=OTHERS)
            if name in self.counts:
                return name
        if self._names[name.tenant_id] >= MOST_NAMES or len(self.counts) >= MOST_COUNTS:
            name = name._replace(device=0, field=OTHERS)
        return name


def _contact(contact: tuple[int, int, bool], count: _Count) -> Contact:
    tenant_id, device, accepted = contact
    return Contact(tenant_id, device, accepted, count.total())


def _add(counts: dict[Key, _Count], key: Key, count: _Count) -> None:
    if before := counts.get(key):
        before.add(count)
    else:
        counts[key] = replace(count)


class Refusals:
    """The counts of this process, and the thread that sends them to Valkey each second."""

    def __init__(self) -> None:
        self._noted = _Noted()
        self._lock = threading.Lock()
        # Held while something is sent, so that whoever flushes has also sent what others took.
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_away = False

    @contextmanager
    def noting(self) -> Iterator[_Noted]:
        """The counts, for one thread at a time."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                # Not a daemon, as it would be by default in a thread that the server has made.
                self._thread = threading.Thread(target=self._run, name="refusals", daemon=False)
                self._thread.start()
            yield self._noted

    def flush(self) -> None:
        """Returns when everything that was noted is in Valkey, or stays here because Valkey is
        unavailable."""
        with self._sending:
            with self._lock:
                noted, self._noted = self._noted, _Noted()
            if not noted:
                return
            try:
                self._send(noted)
                self._is_away = False
            except RedisError:
                if not self._is_away:
                    log.exception("refusals cannot be counted in Valkey right now")
                self._is_away = True
                with self._lock:
                    self._noted.add_all(noted)

    def _run(self) -> None:
        """Ends after the main thread has: the interpreter waits for this thread."""
        main = threading.main_thread()
        while main.is_alive():
            main.join(FLUSH_EVERY_S)
            try:
                self.flush()
            except Exception:  # counts that cannot be sent must not end the thread
                log.exception("refusals were lost")

    @staticmethod
    def _send(noted: _Noted) -> None:
        """Sends and removes one part after the other, so that only what was not sent is left."""
        for group, names in _parts(noted.counts):
            now_us = _now_us()
            counts_add(group, [(name, noted.counts[name].added(now_us)) for name in names])
            for name in names:
                del noted.counts[name]
        for group, contacts in _parts(noted.contacts):
            contacts_add(group, [_contact(one, noted.contacts[one]) for one in contacts])
            for one in contacts:
                del noted.contacts[one]
        if noted.unknown:
            unknown_keys_add(noted.unknown)
            noted.unknown.clear()


def _parts(counts: Mapping[Any, _Count]) -> Iterator[tuple[int, list[Any]]]:
    """The keys by group, at most SENT_AT_ONCE together."""
    groups: dict[int, list[Any]] = defaultdict(list)
    for key in counts:
        groups[group_of(key[0])].append(key)
    for group, keys in groups.items():
        for start in range(0, len(keys), SENT_AT_ONCE):
            yield group, keys[start : start + SENT_AT_ONCE]


def refusals_note(
    *,
    tenant_id: int,
    device: int | None,
    code: Code,
    reason: str,
    field: str = "",
    count: int = 1,
    sample: Callable[[], Sample] | None = None,
    received_at: datetime | None = None,
) -> None:
    """Counts refused messages of a device (None: of no known device) by code and field.

    `field` is a JSON path, `reason` says in words what is wrong with it. `sample` is called only if
    the first such message within a second is counted; its reason may say more. `received_at` is
    when they came, by default now: a device is not refused if a message that came with them was
    accepted.
    """
    name = Name(tenant_id, device or 0, code.value, field_name(field))
    contact = (tenant_id, device, code == Code.IGNORED) if device else None
    if code in NO_CONTACT:
        contact = None
    at_us = _now_us() if received_at is None else round(received_at.timestamp() * 1e6)
    counted = _Count(count, at_us, at_us, UNSAID)
    with _refusals.noting() as noted:
        if noted.knows(name) and (contact is None or contact in noted.contacts):
            noted.note(name, contact, counted)
            return
    # Not while others wait: a sample takes as long as the message is.
    words, text = sample() if sample else (reason_words(field, reason), "")
    counted.said = Said(name.field, kept(words, MAX_REASON), kept(text, SAMPLE_BYTES))
    with _refusals.noting() as noted:
        noted.note(name, contact, counted)


def _now_us() -> int:
    return time_ns() // 1000


def unknown_key_note(*, key: str, address: str | None) -> None:
    """Counts that an unknown key was tried."""
    with _refusals.noting() as noted:
        noted.add_unknown(shown_of(key), Tries(1, address or ""))


def refusals_flush() -> None:
    """Returns when everything that this process has noted is in Valkey."""
    _refusals.flush()


_refusals = Refusals()
