"""The devices' endpoints accept what the schema calls valid, and refuse what it calls invalid."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from config.openapi.door import DOOR_COMPONENTS
from ingest.messages.errors import InvalidMessage
from ingest.messages.heartbeat import MAX_FIELDS, heartbeat_decode
from ingest.messages.readings import readings_decode

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ABOUT = {"device_id": "a", "time": "2026-01-31T12:00:00Z"}
NAMES = {"n" * 64: True, "n" * 65: False, "": False, "a\0b": False}


def is_described(shape: str, body: dict[str, Any]) -> bool:
    validator = Draft202012Validator(DOOR_COMPONENTS[shape], validate_formats=True)
    return validator.is_valid(body)


def is_heartbeat(body: dict[str, Any]) -> bool:
    try:
        heartbeat_decode(json.dumps(body).encode(), received_at=NOW)
    except InvalidMessage:
        return False
    return True


def is_reading(body: dict[str, Any]) -> bool:
    decoded = readings_decode(json.dumps(body).encode(), lines=False, received_at=NOW)
    return not decoded.refused


@pytest.mark.parametrize(
    ("body", "good"),
    [
        *(({name: 1}, True) for name in NAMES),
        ({"note": "n" * 1025}, True),
        ({"note": ["a"]}, True),
        ({"battery_pct": 255}, True),
        ({"version": 14}, True),
        ({"time": "2026-01-31T12:00:00Z"}, True),
        ({"device_id": 7}, True),
        ({"device_id": "n" * 65}, False),
        ({"device_id": "a\0b"}, False),
        ({"device_id": ["a"]}, False),
        ({f"n{one}": one for one in range(MAX_FIELDS)}, True),
        ({f"n{one}": one for one in range(MAX_FIELDS + 1)}, False),
        (ABOUT | {f"n{one}": one for one in range(MAX_FIELDS)}, True),
        (ABOUT | {f"n{one}": one for one in range(MAX_FIELDS + 1)}, False),
        ({"time": None} | {f"n{one}": one for one in range(MAX_FIELDS)}, True),
        ({"time": None} | {f"n{one}": one for one in range(MAX_FIELDS + 1)}, False),
    ],
)
def test_a_heartbeat_is_taken_when_it_is_as_described(body: dict[str, Any], good: bool) -> None:
    assert is_described("HeartbeatBody", body) is is_heartbeat(body) is good


@pytest.mark.parametrize(
    ("body", "good"),
    [
        *(({"metrics": {name: 1}}, good) for name, good in NAMES.items()),
        ({"metrics": {"n": 1}, "time": "2026-01-31T12:00:00+01:00"}, True),
        ({"metrics": {"n": 1}, "time": "2026-01-31T12:00:00"}, False),
        ({"metrics": {"n": 1}, "ts": 1769860800}, True),
        ({"metrics": {"n": 1, "m": None}}, True),
        ({"metrics": {"n": None, "m": None}}, False),
        ({"metrics": {}}, False),
        ({"metrics": {"n": 1}, "device_id": 7}, True),
    ],
)
def test_a_reading_is_taken_when_it_is_as_described(body: dict[str, Any], good: bool) -> None:
    assert is_described("ReadingBody", body) is is_reading(body) is good
