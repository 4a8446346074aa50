import pytest

from monitoring.live import consumers, reader


@pytest.fixture
def often_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader, consumers):
        monkeypatch.setattr(module, "RECHECK_S", 0.05)
        monkeypatch.setattr(module, "RETRY_S", 0.05)
