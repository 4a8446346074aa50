import pytest

from monitoring.live import listener


@pytest.fixture
def often_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "RECHECK_S", 0.05)
    monkeypatch.setattr(listener, "RETRY_S", 0.05)
