import pytest
from django.db import OperationalError

from devices.fleet.keys import Speaker, speaker_for_key
from ingest.door import directory
from ingest.door.directory import Directory, Resolved
from tests.conftest import Fleet


@pytest.fixture
def speaker(acme: Fleet) -> Speaker:
    found = speaker_for_key(acme.key)
    assert found is not None
    return found


def test_known_names_are_answered_without_asking_each_time_while_the_database_is_away(
    acme: Fleet, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    asked: list[list[str]] = []

    def away(*, tenant_id: int, device_ids: list[str]) -> Resolved:
        asked.append(device_ids)
        raise OperationalError("away")

    monkeypatch.setattr(directory, "monotonic", lambda: now[0])
    known = Directory()
    known.resolve(speaker, ["acme-phone"])
    monkeypatch.setattr(directory, "devices_find", away)
    now[0] += 60

    for _ in range(5):
        assert known.resolve(speaker, ["acme-phone"]).devices["acme-phone"].id == acme.device.pk
    assert asked == [["acme-phone"]]
    with pytest.raises(OperationalError):
        known.resolve(speaker, ["acme-phone", "another"])
