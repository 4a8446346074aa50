"""Whether Valkey keeps what it has acknowledged, by its settings.

With other settings it accepts messages and forgets them: it evicts whole streams when its memory is
full, or loses what it had not yet written when it is killed.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from monitoring.system.health import OK, Finding, Health

log = logging.getLogger(__name__)

# Settings change seldom, and /health is asked often.
ASK_EVERY_S = 60.0
EVICTS = "maxmemory-policy"
# What each setting must be, and what happens otherwise.
WANTED: Mapping[str, tuple[str, str]] = {
    EVICTS: ("noeviction", "evicts accepted messages when its memory is full"),
    "appendonly": ("yes", "forgets accepted messages when it restarts"),
    "appendfsync": ("always", "forgets the latest accepted messages when it is killed"),
}
# A server that holds no messages may forget them, but must not evict keys.
OTHERS_WANTED = (EVICTS,)
STREAM = "INGEST_STREAM_URL"

Clients = Callable[[], Iterable[redis.Redis]]


class SettingsCheck:
    """Asks servers for their settings, at most once in ASK_EVERY_S.

    `streams` are the servers that hold accepted messages (INGEST_STREAM_URL), `others` those that
    do not (VALKEY_URL); a server may be both.
    """

    def __init__(self, *, streams: Clients, others: Clients) -> None:
        self._streams = streams
        self._others = others
        self._lock = threading.Lock()
        self._found = OK
        self._ask_at = 0.0

    def finding(self) -> Finding:
        """Degraded, and how to mend it, if one of the servers would forget."""
        with self._lock:
            if monotonic() >= self._ask_at:
                self._found = self._ask()
                self._ask_at = monotonic() + ASK_EVERY_S
            return self._found

    def _ask(self) -> Finding:
        try:
            streams = list(self._streams())
        except RedisError as error:  # another check says so
            log.info("could not ask the stream's servers for their settings: %s", error)
            return OK
        others = {_address(client): client for client in self._others()}
        found = [
            settings_finding(client, "VALKEY_URL" if _address(client) in others else STREAM, WANTED)
            for client in streams
        ]
        for client in streams:
            others.pop(_address(client), None)
        found += [
            settings_finding(client, "VALKEY_URL", OTHERS_WANTED) for client in others.values()
        ]
        # One that is not ok first, then one that says something.
        return max(found, key=lambda one: (one.health != Health.OK, bool(one.why)), default=OK)


def settings_finding(client: redis.Redis, where: str, names: Iterable[str]) -> Finding:
    """What is wrong with these settings of a server; `where` is the setting with its address.

    OK for a server that does not answer, because other checks say so. If a setting cannot be read,
    the finding is OK and says what to check.
    """
    try:
        known = settings_read(client)
    except RedisError as error:
        log.info("could not ask %s for its settings: %s", _address(client), error)
        return OK
    for name in names:
        wanted, otherwise = WANTED[name]
        if known.get(name, wanted) != wanted:
            log.warning("%s is %s at %s", name, known[name], _address(client))
            return Finding(
                Health.DEGRADED,
                f"The Valkey at {where} {otherwise}: {name} is {known[name]}. Run "
                f"`valkey-cli config set {name} {wanted}`, and set it in its configuration.",
            )
    if unknown := [name for name in names if name not in known]:
        should = " and ".join(f"{name} is {WANTED[name][0]}" for name in unknown)
        return Finding(
            why=f"The Valkey at {where} does not let Rollcall read some settings. Make sure that "
            f"{should}."
        )
    return OK


def settings_read(client: redis.Redis) -> dict[str, str]:
    """The settings of WANTED that can be read: with CONFIG, or else, if that is not permitted,
    those that INFO has. Raises RedisError if the server does not answer."""
    try:
        told: Any = client.config_get(*WANTED)
        return {name: str(value) for name, value in told.items() if name in WANTED}
    except ResponseError as error:
        log.info("CONFIG is not permitted at %s: %s", _address(client), error)
    known: dict[str, str] = {}
    try:
        memory: Any = client.info("memory")
        persistence: Any = client.info("persistence")
    except ResponseError as error:
        log.info("INFO is not permitted at %s: %s", _address(client), error)
        return known
    if "maxmemory_policy" in memory:
        known[EVICTS] = str(memory["maxmemory_policy"])
    if "aof_enabled" in persistence:
        known["appendonly"] = "yes" if int(persistence["aof_enabled"]) else "no"
    return known


def _address(client: redis.Redis) -> str:
    arguments = client.connection_pool.connection_kwargs
    if "path" in arguments:
        return str(arguments["path"])
    return f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"
