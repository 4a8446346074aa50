"""Texts that say why a device is in its state."""

from datetime import UTC, datetime

from telemetry.sql.lastrefusal import Refused

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
    last_contact: datetime,
    ts: datetime,
    interval_s: int,
    grace_s: int,
    excused_s: float,
    address: str | None,
    battery_pct: float | None,
    revoked_at: datetime | None = None,
    refused: Refused | None = None,
    is_changed: bool = False,
) -> str:
    """Why a device is late or offline.

    `excused_s` is how much of its silence does not count, because it was paused or no server
    listened when a message was due. `revoked_at` is when its last key was revoked, if none of its
    keys is in force. `refused` is what it said last, if that was refused. `is_changed`: it is late
    because its interval or grace is another now.
    """
    words = f"no message for {duration((ts - last_contact).total_seconds())}"
    if excused_s >= 1:
        why = "it was paused, or Rollcall was not listening"
        words += f" ({duration(excused_s)} not counted: {why})"
    words += f", one expected every {duration(interval_s)} with {duration(grace_s)} grace"
    words += " now" if is_changed else ""
    if refused is not None:
        words += f"; before that, {refused_words(refused)}"
    elif last := last_words(address, battery_pct):
        words += f"; last message {last}" if address else f"; last {last}"
    if revoked_at is not None:
        words += f"; its key was revoked {duration((ts - revoked_at).total_seconds())} earlier"
    return words


def refused(refused: Refused) -> str:
    """Why a device is `refused`: it speaks, but nothing that it says is accepted."""
    return f"speaks, but {refused_words(refused)}"


def refused_words(refused: Refused) -> str:
    """`12 messages were refused since 23:07, the last at 23:09 UTC: `battery_pct` 255, …`."""
    if refused.messages == 1:
        words = f"1 message was refused at {_clock(refused.at)} UTC"
    else:
        since = _clock(refused.since, same_day_as=refused.at)
        last = _clock(refused.at)
        words = f"{refused.messages} messages were refused since {since}, the last at {last} UTC"
    return f"{words}: {refused.reason}"


def expected(*, silence_s: float, interval_s: int, grace_s: int) -> str:
    """Why a device is online that was silent for too long before its interval or grace changed."""
    allowed = f"every {duration(interval_s)} with {duration(grace_s)} grace"
    return f"a message is expected {allowed} now; last heard {duration(silence_s)} earlier"


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


def paused(*, by: str, why: str, until: datetime | None = None) -> str:
    """`paused by anna until 2026-12-24 08:00 UTC: Christmas`."""
    words = f"paused by {by}"
    if until is not None:
        words += f" until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{words}: {why}" if why else words


def resumed(
    *,
    by: str | None,
    ts: datetime,
    last_seen: datetime | None,
    interval_s: int,
    grace_s: int,
    refused: Refused | None = None,
) -> str:
    """Why a device is in its state after its pause. `by` is None if the pause had an end.
    `refused` is what it says now, if that is refused."""
    words = "the pause ended" if by is None else f"resumed by {by}"
    if refused is not None:
        return f"{words}; speaks, but {refused_words(refused)}"
    if last_seen is None:
        return f"{words}; never heard from"
    silence_s = (ts - last_seen).total_seconds()
    if silence_s < interval_s + grace_s:
        return f"{words}; last heard {duration(silence_s)} earlier"
    return f"{words}; waiting for a message, due within {duration(interval_s + grace_s)}"


def last_words(address: str | None, battery_pct: float | None) -> str:
    parts = [f"from {address}"] if address else []
    if battery_pct is not None:
        parts.append(f"battery {percent(battery_pct)}")
    return ", ".join(parts)


def _clock(time: datetime, *, same_day_as: datetime | None = None) -> str:
    """`23:07`; with the date if it is another day."""
    time = time.astimezone(UTC)
    is_other_day = same_day_as is not None and time.date() != same_day_as.astimezone(UTC).date()
    return f"{time:%Y-%m-%d %H:%M}" if is_other_day else f"{time:%H:%M}"
