"""The named vitals of a heartbeat: each is checked and has its own column."""

from collections.abc import Sequence
from typing import NamedTuple

Value = float | str | None

LONGEST_TEXT = 64


class Vital(NamedTuple):
    """`name` ends in the unit. A number is between `low` and `high`; text has at most LONGEST_TEXT
    characters."""

    name: str
    type: type[float] | type[str]
    low: float | None = None
    high: float | None = None


# The door's checks, the OpenAPI schema, stream entries, rows, SQL and API responses are all built
# from this table. Add new vitals at the end: stream entries hold the values in this order, and may
# have been written before the new vital existed.
NAMED_VITALS = (
    Vital("battery_pct", float, low=0, high=100),
    Vital("rssi_dbm", float, low=-200, high=20),
    Vital("uptime_s", float, low=0),
    Vital("version", str),
)
NAMES = tuple(vital.name for vital in NAMED_VITALS)
NONE_NAMED: Sequence[Value] = (None,) * len(NAMED_VITALS)
