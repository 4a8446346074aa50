"""The live stream in the OpenAPI schema, written by hand: its view is not REST framework's, and
OpenAPI 3.1 cannot describe the events of a stream."""

from typing import Any

from config.openapi.schema import problem_answer

LIVE = "/api/v1/live"
SCHEMAS = "#/components/schemas/"
TIME = {"type": "string", "format": "date-time"}
# 421: the server cannot stream. 503: the database is unavailable.
PROBLEMS = (400, 401, 403, 421, 429, 503)


def _message(kind: str, **properties: Any) -> dict[str, Any]:
    fields = {"type": {"type": "string", "const": kind}, **properties}
    return {"type": "object", "required": list(fields), "properties": fields}


_device = {
    "id": {"type": "integer"},
    "state": {"$ref": f"{SCHEMAS}PresenceState"},
    "state_since": TIME,
    "reason": {"type": "string", "description": "Why the device is in this state, as text."},
    "last_seen": {**TIME, "type": ["string", "null"]},
    "battery_pct": {"type": ["number", "null"]},
}
LIVE_COMPONENTS = {
    "LiveDevice": {"type": "object", "required": list(_device), "properties": _device},
    "LiveMessage": {
        "description": "The data of an event.",
        "oneOf": [
            _message(
                "hello",
                server_time=TIME,
                resumed={
                    "type": "boolean",
                    "description": "True if only missed changes follow, not all devices.",
                },
            ),
            _message(
                "devices",
                server_time=TIME,
                devices={"type": "array", "items": {"$ref": f"{SCHEMAS}LiveDevice"}},
            ),
            _message("closed", code={"type": "integer", "const": 4401}),
        ],
    },
}
_stream = {
    "type": "string",
    "description": "Events whose data is a LiveMessage in JSON; comments between them keep the "
    "connection open.",
}
LIVE_PATH = {
    "get": {
        "operationId": "live",
        "description": "The latest status of all your devices, then every change, as server-sent "
        "events. The stream ends with the token or the session.",
        "tags": ["live"],
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "schema": {"type": "string"},
                "description": "Id of the last event that you received. If you reconnect within a "
                "minute, you get only what changed since; with any other id, everything.",
            }
        ],
        "security": [{"jwtAuth": []}, {"cookieAuth": []}],
        "responses": {
            "200": {
                "description": "The stream.",
                "content": {"text/event-stream": {"schema": _stream}},
            },
            **{str(code): problem_answer(code) for code in PROBLEMS},
        },
    }
}


def with_live(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A POSTPROCESSING_HOOK: adds the live stream."""
    result["paths"][LIVE] = LIVE_PATH
    result["components"]["schemas"] |= LIVE_COMPONENTS
    return result
