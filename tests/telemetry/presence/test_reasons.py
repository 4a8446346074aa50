import pytest

from telemetry.presence.reasons import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (505, "8 min 25 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (11_430, "3 h 10 min"),
        (86_400 + 59 * 60, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_duration_has_two_units_at_the_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words
