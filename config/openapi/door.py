"""The devices' endpoints in the OpenAPI schema, written by hand: their views decode bodies
themselves, so drf-spectacular finds nothing. The schemas come from the structs that decode them.
"""

from http import HTTPStatus
from itertools import combinations
from typing import Any

import msgspec
from django.db import models

from devices.api.base.fields import STORABLE
from ingest.door.enrol import EnrolAnswer, EnrolBody
from ingest.door.views import HeartbeatAccepted
from ingest.messages.heartbeat import MAX_FIELDS, UNCOUNTED, HeartbeatBody, vital_range
from ingest.messages.readings import MAX_MESSAGES, ReadingBody
from telemetry.vitals import NAMED_VITALS

OWN = "/api/v1/"
SCHEMAS = "#/components/schemas/"
JSON = "application/json"
NDJSON = "application/x-ndjson"
BODIES = (EnrolAnswer, EnrolBody, HeartbeatAccepted, HeartbeatBody, ReadingBody)

DOOR_SECURITY = {
    "deviceKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "The key of a device or a gateway, `rc_…`.",
    }
}
LEFT_OUT = "Another value is left out, and named in `ignored`."


def _components() -> dict[str, Any]:
    _, found = msgspec.json.schema_components(
        BODIES, schema_hook=_choices, ref_template=f"{SCHEMAS}{{name}}"
    )
    shapes: dict[str, Any] = {name: _storable(shape) for name, shape in found.items()}
    # Every additional field is a vital. A value that cannot be used does not cost the heartbeat.
    heartbeat = shapes["HeartbeatBody"]
    for vital in NAMED_VITALS:
        what = vital_range(vital)
        heartbeat["properties"][vital.name] = {
            "description": f"{what[0].upper()}{what[1:]}. {LEFT_OUT}"
        }
    heartbeat["properties"]["time"] = {
        "description": "ISO 8601 with a time zone, or a number since 1970, in seconds, ms, µs or "
        "ns; also as `timestamp`, `ts`, `tst` or `timestamp_ms`. Refused if it is too old. "
        "With the time of a wrong clock, the heartbeat counts as heard now."
    }
    heartbeat["additionalProperties"] = {
        "description": f"A vital: a number, text, true, false or null. {LEFT_OUT}"
    }
    heartbeat["anyOf"] = [
        {"required": list(names), "maxProperties": MAX_FIELDS + len(names)}
        for count in range(len(UNCOUNTED) + 1)
        for names in combinations(UNCOUNTED, count)
    ]
    # A metric that is null is left out, and one at least has to be left.
    metrics = shapes["ReadingBody"]["properties"]["metrics"]
    metrics["not"] = {"additionalProperties": {"type": "null"}}
    shapes["ReadingsAccepted"] = {
        "type": "object",
        "required": ["server_time", "accepted", "refused"],
        "properties": {
            "server_time": {"type": "string", "format": "date-time"},
            "accepted": {"type": "integer"},
            "refused": {"type": "array", "items": REFUSAL},
        },
    }
    return shapes


REFUSAL = {
    "type": "object",
    "required": ["index", "code", "field", "reason"],
    "properties": {
        "index": {"type": "integer"},
        "code": {"type": "string"},
        "field": {"type": "string"},
        "reason": {"type": "string"},
    },
}


def _storable(shape: Any) -> Any:
    """The schema, with a pattern that excludes U+0000, which cannot be stored."""
    if isinstance(shape, list):
        return [_storable(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    inner = {key: _storable(value) for key, value in shape.items()}
    if "propertyNames" in inner:
        inner["propertyNames"] = {"pattern": STORABLE} | inner["propertyNames"]
    is_text = shape.get("type") == "string" and not shape.keys() & {"format", "enum"}
    return {"pattern": STORABLE} | inner if is_text else inner


def _choices(kind: type) -> dict[str, Any]:
    """The schema for Django choices, which msgspec does not know."""
    if not issubclass(kind, models.TextChoices):
        raise NotImplementedError
    return {"type": "string", "enum": kind.values}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"{SCHEMAS}{name}"}


def _door(
    name: str,
    words: str,
    *,
    content: dict[str, Any],
    answer: tuple[int, str],
    problems: tuple[int, ...],
    is_keyed: bool = True,
) -> dict[str, Any]:
    code, answered = answer
    problem = {"application/problem+json": {"schema": _ref("Problem")}}
    refusals = {
        str(one): {"description": HTTPStatus(one).phrase, "content": problem} for one in problems
    }
    accepted = {
        "description": HTTPStatus(code).phrase,
        "content": {JSON: {"schema": _ref(answered)}},
    }
    operation = {
        "operationId": f"{name}_create",
        "description": words,
        "tags": [name],
        "security": [{"deviceKey": []}] if is_keyed else [],
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
        },
        "responses": {str(code): accepted, **refusals},
    }
    return {"post": operation}


_one_or_many = {
    "oneOf": [
        _ref("ReadingBody"),
        {"type": "array", "items": _ref("ReadingBody"), "maxItems": MAX_MESSAGES},
    ]
}

DOOR_COMPONENTS = _components()
DOOR_PATHS = {
    "/api/v1/heartbeats": _door(
        "heartbeats",
        "Says that the device is alive, with a few vitals. Answers 202 once the heartbeat is on "
        "disk.",
        content={JSON: _ref("HeartbeatBody")},
        answer=(202, "HeartbeatAccepted"),
        problems=(400, 401, 403, 413, 415, 429, 503),
    ),
    "/api/v1/readings": _door(
        "readings",
        "One reading, an array of readings, or one reading per line; plain or gzip. Answers 202 "
        "once the valid readings are on disk and lists the refused ones. If none is valid, "
        "answers 400, or 403 if all are for other devices.",
        content={JSON: _one_or_many, NDJSON: {"type": "string"}},
        answer=(202, "ReadingsAccepted"),
        problems=(400, 401, 403, 413, 415, 429, 503),
    ),
    "/api/v1/enrol": _door(
        "enrol",
        "Adds a device with an enrolment token. The answer contains its key, which is shown only "
        "once.",
        content={JSON: _ref("EnrolBody")},
        answer=(201, "EnrolAnswer"),
        problems=(400, 401, 403, 409, 413, 415, 503),
        is_keyed=False,
    ),
}


def documented(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """A PREPROCESSING_HOOK: keeps the endpoints below /api/v1/ that drf-spectacular can describe.

    The devices' endpoints are added by `with_doors`. The paths of earlier systems are left out:
    they answer as those systems document them.
    """
    own = [one for one in endpoints if one[0].startswith(OWN)]
    return [one for one in own if one[0].rstrip("/") not in DOOR_PATHS]


def with_doors(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A POSTPROCESSING_HOOK: adds the devices' endpoints."""
    result["paths"] |= DOOR_PATHS
    components = result["components"]
    components["schemas"] |= DOOR_COMPONENTS
    components["securitySchemes"] |= DOOR_SECURITY
    return result
