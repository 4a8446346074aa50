import pytest

from monitoring.system.database import Use


@pytest.mark.parametrize(
    ("in_use", "status"),
    [(0, "ok"), (80, "ok"), (81, "degraded"), (95, "degraded"), (96, "failing")],
)
def test_use_is_judged_by_its_share(in_use: int, status: str) -> None:
    assert Use(in_use, 100).health == status
