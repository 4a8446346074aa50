"""What schemathesis must know and the schema cannot say: the current time, that a window is given
in only one way, what lines of JSON are, and that 7.0 is not written for 7.

So data that it calls valid is really valid and must be accepted.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis

Case = schemathesis.Case[Any]

NDJSON = "application/x-ndjson"
LINES = "\n".join(json.dumps({"seq": seq, "metrics": {"temp_c": 21.5}}) for seq in range(3))
TIME_NAMES = ("time", "timestamp", "ts", "tst", "timestamp_ms")
# The device whose key the requests to devices' endpoints use.
DEVICE = "d1"
TOKEN = os.environ.get("ROLLCALL_ENROLMENT_TOKEN")


def cases(**which: str) -> Any:
    """A decorator for functions that change the cases of these operations."""
    changed: Any = schemathesis.hook("map_case")
    return changed.apply_to(**which)


@cases(path_regex="/devices/.*/(readings|heartbeats)$")
def one_window(context: Any, case: Case) -> Case:
    """Only `hours`, or a recent `start`, and not too many buckets."""
    if _is_good(case) and (query := case.query):
        _put(query, "tz", "Europe/Berlin")
        query.pop("bom", None)
        query.pop("end", None)
        if "hours" in query:
            query.pop("start", None)
        if "start" in query:
            query["start"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        if "bucket" in query:
            query["bucket"] = "1h"
        else:
            query.pop("fill", None)
    return case


@cases(path="/api/v1/telemetry/summary")
def since_lately(context: Any, case: Case) -> Case:
    """Only `hours`, or a recent `start`."""
    if _is_good(case) and (query := case.query):
        _put(query, "tz", "Europe/Berlin")
        _put(query, "start", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
        if "start" in query:
            query.pop("hours", None)
    return case


@cases(path_regex="^/api/v1/(heartbeats|readings)$")
def of_now(context: Any, case: Case) -> Case:
    """Messages of the device that the key belongs to."""
    if _is_good(case):
        if case.media_type == NDJSON:
            case.body = LINES
        for message in case.body if isinstance(case.body, list) else [case.body]:
            if isinstance(message, dict):
                for name in TIME_NAMES:
                    _put(message, name, datetime.now(UTC).isoformat())
                _put(message, "device_id", DEVICE)
                if isinstance(seq := message.get("seq"), float):
                    message["seq"] = int(seq)
    return case


@cases(path="/api/v1/enrol")
def with_token(context: Any, case: Case) -> Case:
    if _is_good(case) and TOKEN and isinstance(case.body, dict):
        _put(case.body, "token", TOKEN)
    return case


@schemathesis.serializer(NDJSON)
def as_text(context: Any, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _is_good(case: Case) -> bool:
    """True if the case was generated to be valid by the schema."""
    return case.meta is not None and case.meta.generation.mode.is_positive


def _put(message: dict[str, Any], name: str, value: str) -> None:
    if message.get(name) is not None:
        message[name] = value
