"""Texts that say why a device is in its state."""

from datetime import datetime

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s"))


def duration(seconds: float) -> str:
    """`90 s`, `3 min 10 s`, `2 d 4 h`: at most two units; below 2 min, only seconds."""
    whole = max(0, round(seconds))
    if whole < 2 * MINUTE:
        return f"{whole} s"
    unit, name, part, part_name = next(one for one in UNITS if whole >= one[0])
    rest = whole % unit // part
    return f"{whole // unit} {name}" + (f" {rest} {part_name}" if rest else "")


def percent(value: float) -> str:
    return f"{value:.0f} %"


def silent(
    *,
    last_seen: datetime,
    ts: datetime,
    interval_s: int,
    grace_s: int,
    excused_s: float,
    address: str | None,
    battery_pct: float | None,
    revoked_at: datetime | None = None,
) -> str:
    """Why a device is late or offline.

    `excused_s` is how much of its silence does not count, because it was paused or no server
    listened when a message was due. `revoked_at` is when its last key was revoked, if none of its
    keys is in force.
    """
    words = f"no message for {duration((ts - last_seen).total_seconds())}"
    if excused_s >= 1:
        why = "it was paused, or Rollcall was not listening"
        words += f" ({duration(excused_s)} not counted: {why})"
    words += f", one expected every {duration(interval_s)} with {duration(grace_s)} grace"
    last = last_words(address, battery_pct)
    if last:
        words += f"; last message {last}" if address else f"; last {last}"
    if revoked_at is not None:
        words += f"; its key was revoked {duration((ts - revoked_at).total_seconds())} earlier"
    return words


def heard(
    *,
    kind: str,
    previous_seen: datetime | None,
    seen: datetime,
    address: str | None,
    battery_pct: float | None,
    clock_skew_s: float | None,
) -> str:
    """Why a device is online: it sent a message of this kind."""
    if previous_seen is None:
        words = f"first {kind}"
    else:
        words = f"{kind} after {duration((seen - previous_seen).total_seconds())} of silence"
    last = last_words(address, battery_pct)
    words = f"{words}, {last}" if last else words
    if clock_skew_s is not None and abs(clock_skew_s) >= MINUTE:
        side = "ahead" if clock_skew_s > 0 else "behind"
        words += f"; its clock is {duration(abs(clock_skew_s))} {side}"
    return words


def paused(*, by: str, why: str) -> str:
    return f"paused by {by}: {why}" if why else f"paused by {by}"


def resumed(
    *, by: str, ts: datetime, last_seen: datetime | None, interval_s: int, grace_s: int
) -> str:
    """Why a device is in its state after it was resumed."""
    if last_seen is None:
        return f"resumed by {by}; never heard from"
    silence_s = (ts - last_seen).total_seconds()
    if silence_s < interval_s + grace_s:
        return f"resumed by {by}; last heard {duration(silence_s)} earlier"
    return f"resumed by {by}; waiting for a message, due within {duration(interval_s + grace_s)}"


def last_words(address: str | None, battery_pct: float | None) -> str:
    parts = [f"from {address}"] if address else []
    if battery_pct is not None:
        parts.append(f"battery {percent(battery_pct)}")
    return ", ".join(parts)
