"""How a fleet behaves."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Habits:
    """Shares are from 0 to 1. `jitter` is the share by which an interval may be longer; it is never
    shorter, because two heartbeats in the same 10 s would count as duplicates. `retries` is how
    often a message is sent again before giving up."""

    interval_s: float = 10
    jitter: float = 0.2
    silent_share: float = 0.1
    silent_for_s: float = 60
    duplicate_share: float = 0.01
    retries: int = 8
    seed: int = 0
