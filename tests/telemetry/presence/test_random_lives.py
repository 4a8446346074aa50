"""Random lives of devices: the state equals that of a few lines that know the whole life."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest

from devices.models import Device
from telemetry.models import DeviceStatus
from telemetry.presence.pausing import presence_pause, presence_resume
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.presence.refusals import contact, refuse
from tests.telemetry.presence.sweeping import T0, after, status, sweep, transitions
from tests.telemetry.storing import heartbeats_store

DEVICES, STEPS = 12, 60
ACTIONS = {
    "silence": 12,
    "accepted": 3,
    "refused": 3,
    "interval": 2,
    "pause": 1,
    "resume": 2,
}


@dataclass
class Life:
    """What happened to a device; times are seconds after T0."""

    device: Device
    interval_s: int = 60
    grace_s: int = 30
    seen: float | None = None
    refused: float | None = None
    resumed: float | None = None
    is_paused: bool = False

    def state(self, now: float) -> str:
        allowed = self.interval_s + self.grace_s
        if self.is_paused:
            return "paused"
        if self.seen is None and self.refused is None:
            return "new"
        if self.seen is not None and now < self.seen + allowed:
            return "online"
        is_refused = self.refused is not None and self.refused > (self.seen or float("-inf"))
        if is_refused and self.refused is not None and now < self.refused + allowed:
            return "refused"
        times = (self.seen, self.refused, self.resumed)
        silent_since = max(time for time in times if time is not None)
        return "late" if now < silent_since + 2 * allowed else "offline"

    def act(self, action: str, now: float, random: Random) -> None:
        match action:
            case "accepted":
                heartbeats_store(heartbeats=[heartbeat(self.device, after(now))])
                self.seen, self.resumed = now, None
            case "refused":
                refuse(contact(self.device, now))
                self.refused = now
            case "interval":
                self.interval_s = random.choice((1, 5, 20, 60, 300, 86_400))
                self.grace_s = random.choice((0, 10, 60))
                Device.objects.filter(pk=self.device.pk).update(
                    expected_interval_s=self.interval_s, grace_s=self.grace_s
                )
            case "pause":
                presence_pause(device_ids=[self.device.pk], by="ann", why="", ts=after(now))
                self.is_paused = True
            case "resume" if self.is_paused:
                presence_resume(device_ids=[self.device.pk], by="ann", ts=after(now))
                self.is_paused = False
                if self.state(now) in ("late", "offline"):
                    # Its silence counts from here; who was never accepted is new again.
                    self.resumed = now
                    self.refused = None if self.seen is None else self.refused


@pytest.mark.parametrize("seed", range(6))
def test_the_state_is_what_the_whole_life_says(acme: Fleet, seed: int) -> None:
    random = Random(seed)
    lives = [
        Life(Device.objects.create(tenant=acme.tenant, device_id=f"phone-{n}"))
        for n in range(DEVICES)
    ]
    DeviceStatus.objects.update(state_since=T0)
    now = 0.0
    for _ in range(STEPS):
        now += random.choice((1, 5, 10, 30, 55))
        for life in lives:
            (action,) = random.choices(list(ACTIONS), weights=list(ACTIONS.values()))
            life.act(action, now, random)
        refuse(until=now)
        sweep(now)
        for life in lives:
            assert status(life.device).state == life.state(now), (life, now)
    for life in lives:
        history = [("", "new"), *transitions(life.device)]
        for (_, state), (previous, _) in pairwise(history):
            assert previous == state
