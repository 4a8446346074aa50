import pytest

from devices.fleet.rates import Rate, rate_of


@pytest.mark.parametrize(
    ("per_s", "burst", "rate"),
    [
        (None, None, None),
        (None, 5, None),
        (2, 5, Rate(2, 5)),
        (2.5, None, Rate(2.5, 3)),
        (0.01, None, Rate(0.01, 1)),
    ],
)
def test_without_a_burst_as_many_may_come_at_once_as_in_a_second(
    per_s: float | None, burst: int | None, rate: Rate | None
) -> None:
    assert rate_of(per_s, burst) == rate


def test_a_rate_is_told_in_words() -> None:
    assert str(Rate(1, 1)) == "1 message a second, 1 at once"
    assert str(Rate(0.5, 3)) == "0.5 messages a second, 3 at once"
