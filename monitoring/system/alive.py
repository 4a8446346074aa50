"""Which parts of Rollcall are alive: each records it in Valkey, for `/health`.

    alive    a hash: each part, and when one of its processes last recorded it, in ms since 1970

All times are by Valkey's clock. A part that has never been recorded is not missed. The ingest
server has records of its own (telemetry.presence.listening), because its silence excuses that of
devices.
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
# A drain records itself at the beginning of each turn, every INGEST_DRAIN_RUN_S.
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
    """The parts that have stopped. Raises RedisError while Valkey is unavailable."""
    answer: Any = valkey.connection().eval(
        SILENT, 1, KEY, SILENT_AFTER // timedelta(milliseconds=1)
    )
    return {name.decode() for name in answer}


def alive_note(part: str) -> None:
    """Records that the part is alive. Without Valkey it records nothing: /health says so anyway."""
    try:
        valkey.connection().eval(NOTE, 1, KEY, part)
    except RedisError as error:
        log.debug("could not record that %s is alive: %s", part, error)


def alive_keep_noted(part: str) -> None:
    """Keeps recording that the part is alive, as long as this process lives."""
    threading.Thread(target=_keep_noted, args=(part,), name="alive", daemon=True).start()


def _keep_noted(part: str) -> None:
    while True:
        alive_note(part)
        sleep(NOTE_EVERY_S)
