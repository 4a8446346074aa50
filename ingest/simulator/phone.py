"""What a simulated phone sends, and when it is silent."""

from collections.abc import Sequence
from datetime import datetime
from random import Random

import msgspec

VERSIONS = ("4.1.7", "4.2.0", "4.2.0", "4.2.1")
# Faster than real phones, so that a demo has something to watch: a charge lasts about an hour.
DRAIN_PCT_PER_S = (0.015, 0.035)
CHARGE_PCT_PER_S = 0.1
PLUGGED_IN_BELOW_PCT = (8, 30)
RSSI_DBM = (-115, -45)
SOFTWARE_USES_PCT = (20, 80)


class Phone:
    """A phone with a key. All randomness comes from its own `random`, so that a seed gives the same
    phone whatever the network does.

    Call `heartbeat` with increasing times only.
    """

    def __init__(self, *, device_id: str, token: str, seed: object) -> None:
        self.device_id = device_id
        self.token = token
        self.random = Random(f"{seed}/{device_id}")
        self.version = self.random.choice(VERSIONS)
        self.battery_pct = self.random.uniform(20, 100)
        self.charging = False
        self.rssi_dbm = self.random.uniform(-95, -60)
        self.cpu_pct = self.random.uniform(*SOFTWARE_USES_PCT)
        self.booted_s = -self.random.uniform(3600, 30 * 86_400)
        self._drain = self.random.uniform(*DRAIN_PCT_PER_S)
        self._plugged_in_below = self.random.uniform(*PLUGGED_IN_BELOW_PCT)
        self._spoke_s = 0.0

    def heartbeat(self, *, at_s: float, time: datetime) -> bytes:
        """The heartbeat as JSON, `at_s` seconds after the fleet started; `time` is its clock."""
        self._live(at_s - self._spoke_s)
        self._spoke_s = at_s
        return msgspec.json.encode(
            {
                "device_id": self.device_id,
                "time": time,
                "battery_pct": round(self.battery_pct, 1),
                "rssi_dbm": round(self.rssi_dbm),
                "uptime_s": round(at_s - self.booted_s),
                "version": self.version,
                "charging": self.charging,
                "cpu_pct": round(self.cpu_pct, 1),
            }
        )

    def _live(self, seconds: float) -> None:
        if self.charging:
            self.battery_pct = min(100.0, self.battery_pct + CHARGE_PCT_PER_S * seconds)
            self.charging = self.battery_pct < 100
        else:
            self.battery_pct = max(0.0, self.battery_pct - self._drain * seconds)
            self.charging = self.battery_pct < self._plugged_in_below
        self.rssi_dbm = self._wander(self.rssi_dbm, 2.5, RSSI_DBM)
        self.cpu_pct = self._wander(self.cpu_pct, 6, SOFTWARE_USES_PCT)

    def _wander(self, value: float, step: float, within: tuple[float, float]) -> float:
        low, high = within
        return min(high, max(low, value + self.random.gauss(0, step)))


class Rotation:
    """Which of `count` phones are silent: at every moment a `share` of them, each for `for_s`
    seconds at a time, taking turns in an order that the seed decides."""

    def __init__(self, *, count: int, share: float, for_s: float, seed: object) -> None:
        self._for_s = for_s if share > 0 else 0.0
        self._round_s = for_s / share if share > 0 else 1.0
        places: Sequence[int] = Random(f"{seed}/rotation").sample(range(count), count)
        self._begins_s = [place * self._round_s / count for place in places]

    def silent_until(self, index: int, at_s: float) -> float | None:
        """When the phone with this index speaks again; None if it is not silent at `at_s`."""
        into = (at_s - self._begins_s[index]) % self._round_s
        return at_s + self._for_s - into if into < self._for_s else None
