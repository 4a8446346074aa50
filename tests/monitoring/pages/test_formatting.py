from datetime import timedelta

import pytest
from django.utils import timezone

from monitoring.pages.formatting import clock, ticked, unparted


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("from 10.0.0.7, battery 12 %", "from 10.0.0.7, battery 12~%"),
        ("after 3 h 10 min; 2 d ahead", "after 3~h 10~min; 2~d ahead"),
        ("paused by kim: 3 devices, 5 steps", "paused by kim: 3 devices, 5 steps"),
    ],
)
def test_no_line_ends_between_a_number_and_its_unit(words: str, shown: str) -> None:
    assert unparted(words) == shown.replace("~", "\N{NO-BREAK SPACE}")


def test_a_time_of_another_day_has_its_date() -> None:
    now = timezone.now()
    assert clock(now) == f"{now:%H:%M} UTC"
    assert clock(now - timedelta(days=1)) == f"{now - timedelta(days=1):%Y-%m-%d %H:%M} UTC"


def test_what_stands_between_backticks_is_code() -> None:
    assert ticked("`a<b` is 5 s, at `c`") == (
        "<code>a&lt;b</code> is 5\N{NO-BREAK SPACE}s, at <code>c</code>"
    )
