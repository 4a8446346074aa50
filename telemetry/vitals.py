"""The named vitals of a heartbeat: each is checked and has its own column."""

from collections.abc import Mapping, Sequence
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

# What devices send for "not known", by field. None of these is ever a measurement.
SENTINELS: Mapping[str, frozenset[float]] = {
    "battery_pct": frozenset({-1, 255}),
    "rssi_dbm": frozenset({99, 127, 2147483647}),
    "uptime_s": frozenset({4294967295}),
}
# What other systems call these vitals. Kept as they are: their unit may be another.
OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("battery", "batt", "bat", "battery_level", "battery_percent", "battery_percentage"),
            *("batteryLevel", "batteryPct"),
        ),
        "battery_pct",
    ),
    **dict.fromkeys(
        ("rssi", "RSSI", "signal", "signal_dbm", "signal_strength", "wifi_rssi"), "rssi_dbm"
    ),
    **dict.fromkeys(("uptime", "uptime_sec", "uptime_seconds", "uptime_ms"), "uptime_s"),
    **dict.fromkeys(
        (
            *("firmware", "firmware_version", "fw", "fw_version", "fw_ver"),
            *("sw_version", "software_version", "app_version"),
        ),
        "version",
    ),
}
