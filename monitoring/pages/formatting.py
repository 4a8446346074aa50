"""How the admin writes states, times and vitals; monitoring/live.js writes them the same way."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from telemetry.models import DeviceStatus
from telemetry.presence.reasons import MINUTE, duration, percent
from telemetry.sql.heartbeat import StoredHeartbeat

LOW_BATTERY_PCT = 20
NOTABLE_DELAY = timedelta(seconds=60)
NOTHING = "–"
BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|s|min|h|d)(?!\w))")


def state_badge(state: str) -> SafeString:
    """A state as colour, icon and word."""
    return format_html(
        '<span class="rc-state" data-state="{}"><span class="rc-state__word">{}</span></span>',
        state,
        state,
    )


def moment(time: datetime | None) -> str:
    """`2026-06-01 12:00:03 UTC`."""
    return localize(time) if time else "never"


def clock(time: datetime) -> str:
    """`23:07 UTC`; with the date if that is not today's."""
    utc = time.astimezone(UTC)
    is_today = utc.date() == timezone.now().date()
    return f"{utc:%H:%M} UTC" if is_today else f"{utc:%Y-%m-%d %H:%M} UTC"


def ticked(words: str) -> SafeString:
    """The words as `unparted`, with what stands between two backticks as code."""
    parts = enumerate(unparted(words).split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if n % 2 else part,) for n, part in parts)
    )


def ago(time: datetime | None) -> SafeString:
    """How long ago, which the browser keeps counting; the title is the time itself."""
    return _counting(time, "ago", " ago", "never")


def elapsed(time: datetime | None) -> SafeString:
    """As `ago`, without the word "ago"."""
    return _counting(time, "elapsed", "", NOTHING)


def battery(charge_pct: float | None) -> SafeString:
    if charge_pct is None:
        return format_html('<span class="rc-battery">{}</span>', NOTHING)
    low = "true" if charge_pct <= LOW_BATTERY_PCT else "false"
    shown = percent(charge_pct)
    return format_html('<span class="rc-battery" data-low="{}">{}</span>', low, shown)


def unparted(words: str) -> str:
    """The words with no line break between a number and its unit."""
    return BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", words)


def pairs(values: Mapping[str, object] | None) -> list[tuple[str, object]]:
    """Names and values; in a template, `values.items` would look up a value named "items"."""
    return list(values.items()) if values else []


def older_metrics(older: Mapping[str, tuple[object, str]]) -> list[tuple[str, object, datetime]]:
    """Names, values and times of the metrics that a latest reading does not have, newest first."""
    rows = [(name, value, datetime.fromisoformat(at)) for name, (value, at) in older.items()]
    return sorted(rows, key=lambda row: (row[2], row[0]), reverse=True)


def vital(value: object) -> str:
    """A vital without a field of its own, or a metric, as text: a JSON scalar."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def clock_skew(skew_s: float | None) -> str:
    """How far the device's clock is ahead or behind, as text; "" if it is right or unknown."""
    if skew_s is None or abs(skew_s) < MINUTE:
        return ""
    return f"{duration(abs(skew_s))} {'ahead' if skew_s > 0 else 'behind'}"


def is_time_notable(heartbeat: StoredHeartbeat) -> bool:
    """Whether to show a heartbeat's own time next to ours: the device buffered it, or its clock is
    wrong."""
    return abs(heartbeat.received_at - heartbeat.time) >= NOTABLE_DELAY


def allowance(status: DeviceStatus) -> str:
    """How long the device may be silent before it is late and offline, as text."""
    return unparted(
        f"expected every {duration(status.interval_s)}, {duration(status.grace_s)} grace: "
        f"late after {duration(status.interval_s + status.grace_s)}, "
        f"offline after {duration(2 * (status.interval_s + status.grace_s))}"
    )


def live_state(device_id: int, name: str, state: str) -> SafeString:
    """A device's state, kept up to date; screen readers announce changes with `name`."""
    return format_html(
        '<span data-device="{}" data-field="state" data-name="{}">{}</span>',
        device_id,
        name,
        state_badge(state),
    )


def live(device_id: int, field: str, shown: object) -> SafeString:
    """A field of a device that the browser keeps up to date."""
    return format_html('<span data-device="{}" data-field="{}">{}</span>', device_id, field, shown)


def _counting(time: datetime | None, count: str, suffix: str, never: str) -> SafeString:
    if time is None:
        return format_html("<span>{}</span>", never)
    words = duration((timezone.now() - time).total_seconds()) + suffix
    return format_html(
        '<time datetime="{}" title="{}" data-count="{}">{}</time>',
        time.isoformat(),
        moment(time),
        count,
        words,
    )
