import pytest

from monitoring.pages.formatting import unparted


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
