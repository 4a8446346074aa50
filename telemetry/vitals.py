"""The named vitals: those of a heartbeat that are checked and have a column of their own."""

from collections.abc import Sequence
from typing import NamedTuple

Value = float | str | None

LONGEST_TEXT = 64


class Vital(NamedTuple):
    """Its name ends in its unit. A number lies between `low` and `high`; a text has at most
    LONGEST_TEXT characters."""

    name: str
    type: type[float] | type[str]
    low: float | None = None
    high: float | None = None


# Everything else is made from this table: the door's check and its description, the entry in the
# stream, the rows and their SQL, the API's answers. New ones go to the end: entries in the stream
# hold the values in this order, and may be older than the newest of them.
NAMED_VITALS = (
    Vital("battery_pct", float, low=0, high=100),
    Vital("rssi_dbm", float, low=-200, high=20),
    Vital("uptime_s", float, low=0),
    Vital("version", str),
)
NAMES = tuple(vital.name for vital in NAMED_VITALS)
NONE_NAMED: Sequence[Value] = (None,) * len(NAMED_VITALS)
