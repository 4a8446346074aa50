"""Which parts of Rollcall live: each notes in Valkey that it does, for `/health` of the others.

    alive    a hash: the part, and when one of its processes last said so, in ms from 1970

All by Valkey's clock. A part that has never said so is not missed. The ingest server, whose
silence excuses the devices', has notes of its own (telemetry.listening).
"""

import logging
import threading
from collections.abc import Set
from datetime import timedelta
from time import sleep
from typing import Any

from redis.exceptions import RedisError

from devices import valkey

log = logging.getLogger(__name__)

KEY = "alive"
NOTE_EVERY_S = 2.0
# A drain says so at the beginning of each turn, every INGEST_DRAIN_RUN_S.
SILENT_AFTER = timedelta(seconds=20)
NOW = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000)"
NOTE = f"{NOW} redis.call('HSET', KEYS[1], ARGV[1], now)"
SILENT = f"""
{NOW}
local silent, noted = {{}}, redis.call('HGETALL', KEYS[1])
for n = 1, #noted, 2 do
    if now - noted[n + 1] > tonumber(ARGV[1]) then table.insert(silent, noted[n]) end
end
return silent
"""


def silent_parts() -> Set[str]:
    """The parts that live no more. Raises RedisError while Valkey is away."""
    answer: Any = valkey.connection().eval(
        SILENT, 1, KEY, SILENT_AFTER // timedelta(milliseconds=1)
    )
    return {name.decode() for name in answer}


def alive_note(part: str) -> None:
    """Without Valkey nothing is noted, and /health tells of that instead."""
    try:
        valkey.connection().eval(NOTE, 1, KEY, part)
    except RedisError as error:
        log.debug("Valkey is not told that %s lives: %s", part, error)


def alive_keep_noted(part: str) -> None:
    """From now on, for as long as this process lives."""
    threading.Thread(target=_keep_noted, args=(part,), name="alive", daemon=True).start()


def _keep_noted(part: str) -> None:
    while True:
        alive_note(part)
        sleep(NOTE_EVERY_S)
