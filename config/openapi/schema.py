"""The API's OpenAPI 3 schema: what drf-spectacular finds, and the problems each view can answer
with. The devices' endpoints are in config.openapi.door."""

from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework.permissions import SAFE_METHODS
from rest_framework.serializers import CharField
from uritemplate import variables

from devices.api.base.bodies import StrictBody
from devices.api.base.fields import STORABLE
from devices.api.base.paths import DEVICE_ID, PREFIX, SLUG

PROBLEM_TYPE = "application/problem+json"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {
                    "index": {"type": "integer"},
                    "code": {"type": "string"},
                    "field": {"type": "string"},
                    "reason": {"type": "string"},
                },
            },
        },
    },
}
PATH_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "device_id": {"type": "string", "pattern": f"^{DEVICE_ID}$"},
    "alias": {"type": "string", "pattern": f"^{DEVICE_ID}$"},
    "slug": {"type": "string", "pattern": f"^{SLUG}$"},
    "prefix": {"type": "string", "pattern": f"^{PREFIX}$"},
    "id": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
OF_TENANT = {
    "name": "tenant",
    "in": "query",
    "schema": {"type": "string", "pattern": f"^{SLUG}$"},
    "description": "Slug of the device's tenant; needed if several of your tenants have a device "
    "with this id.",
}
# STORABLE, and not only spaces. They are listed, because languages disagree on what \s matches.
SPACES = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_BLANK = rf"^[^\u0000]*[^\u0000{SPACES}][^\u0000]*$"
ADDED = ("create", "rotate")
# Every view may answer these: not acceptable, too many requests, unavailable.
ALWAYS = (406, 429, 503)


class TokenScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """How a person signs in. Defining the class registers it."""

    target_class = "devices.api.auth.person.PersonAuthentication"


class ProblemSchema(AutoSchema):
    """Adds the problems that a view can answer with, and reads `inputs`, `outputs` and `problems`
    from views that declare them (devices.api.base.viewset.TenantViewSet)."""

    def get_request_serializer(self) -> Any:
        if (inputs := getattr(self.view, "inputs", None)) is None:
            return super().get_request_serializer()
        return inputs.get(getattr(self.view, "action", ""))

    def get_response_serializers(self) -> Any:
        if (outputs := getattr(self.view, "outputs", None)) is None:
            return super().get_response_serializers()
        action = getattr(self.view, "action", "")
        if action == "destroy":
            return {204: None}
        serializer = outputs.get(action, getattr(self.view, "serializer_class", None))
        answers = {201 if action in ADDED else 200: serializer}
        return answers | ({304: None} if action == "retrieve" else {})

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        responses = super()._get_response_bodies(direction)
        component: Any = ResolvedComponent
        self.registry.register_on_missing(
            component(name="Problem", type=component.SCHEMA, schema=PROBLEM, object="Problem")
        )
        for code in sorted(self._problem_codes() - {int(one) for one in responses}):
            responses[str(code)] = problem_answer(code)
        return responses

    def _problem_codes(self) -> set[int]:
        codes = {*ALWAYS}
        if self.view.get_authenticators():
            codes |= {401, 403}
        parameters = self._get_parameters()
        if any(one["in"] == "path" or one["name"] == "cursor" for one in parameters):
            codes.add(404)
        if parameters:
            codes.add(400)
        if self._is_conditional() and self.method not in SAFE_METHODS:
            codes.add(412)
        if self.get_request_serializer() and self.method not in ("GET", "DELETE"):
            codes |= {400, 413, 415}
        problems: Any = getattr(self.view, "problems", {})
        if isinstance(problems, Mapping):
            return codes | set(problems.get(getattr(self.view, "action", ""), ()))
        return codes | set(problems)

    def _is_conditional(self) -> bool:
        """True for operations on a single thing, which has an ETag."""
        action = getattr(self.view, "action", None)
        outputs = getattr(self.view, "outputs", None)
        return outputs is not None and action not in ("list", "create")

    def _get_parameters(self) -> list[dict[str, Any]]:
        parameters = super()._get_parameters()
        if "device_id" in variables(self.path) and not any(
            one["name"] == "tenant" for one in parameters
        ):
            parameters.append(OF_TENANT)
        if self._is_conditional():
            name = "If-None-Match" if self.method in SAFE_METHODS else "If-Match"
            words = "The ETag of an earlier answer."
            tag = {"type": "string"}
            parameters.append({"name": name, "in": "header", "schema": tag, "description": words})
        return parameters

    def _resolve_path_parameters(self, variables: Iterable[str]) -> list[dict[str, Any]]:
        return [
            {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
            for name in variables
        ]

    def _insert_field_validators(self, field: Any, schema: dict[str, Any]) -> None:
        """Adds the patterns that every text in a body must match."""
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]
        if isinstance(field, CharField) and not field.read_only:
            is_named = field.trim_whitespace and not field.allow_blank
            schema.setdefault("pattern", NOT_BLANK if is_named else STORABLE)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, StrictBody):
            schema["additionalProperties"] = False
        return schema


def problem_answer(code: int) -> dict[str, Any]:
    """The schema of a problem details answer."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": HTTPStatus(code).phrase, "content": content}


class Generator(SchemaGenerator):
    """Makes the schema once per process: it is the same for everybody."""

    def get_schema(self, request: Any = None, public: bool = False) -> Any:
        return _schema()


@cache
def _schema() -> Any:
    generator: Any = SchemaGenerator
    return generator().get_schema(public=True)
