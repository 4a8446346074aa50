"""Query parameters."""

from collections.abc import Collection, Iterator
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from devices.api.base.fields import INTEGER, NamesChoices
from devices.api.base.shared import shared

WHY_UNKNOWN = "Unknown parameter; you can use: {}."
WHY_NONE = "Unknown parameter; this endpoint has none."
# A URL that refers to a device may also name its tenant.
DEVICE_PATH, OF_TENANT = "device_id", "tenant"


def parameters_check(request: Request, known: Collection[str]) -> None:
    """Raises ValidationError for an unknown parameter, because otherwise somebody who misspelt a
    filter would believe that it was applied."""
    parameters = list(known)
    if DEVICE_PATH in request.parser_context["kwargs"]:
        parameters.append(OF_TENANT)
    why = WHY_UNKNOWN.format(", ".join(parameters)) if parameters else WHY_NONE
    if unknown := {name: why for name in request.query_params if name not in parameters}:
        raise serializers.ValidationError(unknown)


# An empty value counts as a value, and is invalid for most parameters; REST framework would treat
# it as missing, like an empty form field. (A docstring would become a description in the schema.)
class Query(NamesChoices, serializers.Serializer[Any]):
    @classmethod
    def asked(cls, request: Request) -> dict[str, Any]:
        """The request's parameters, validated. Raises ValidationError, which names the parameter
        and its limit."""
        query = shared(cls)
        parameters_check(request, query.fields)
        return dict(query.run_validation(request.query_params))

    def to_internal_value(self, data: Any) -> Any:
        """`data` is a request's query_params."""
        many = {name for name, one in self.fields.items() if isinstance(one, serializers.ListField)}
        values = {name: data.getlist(name) if name in many else data[name] for name in data}
        if wrong := {name: one for name, one in self._not_numbers(values)}:
            raise serializers.ValidationError(wrong)
        return super().to_internal_value(values)

    def _not_numbers(self, values: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
        """Rejects number formats that Python accepts but the API's schema does not, such as `1_0`
        and non-ASCII digits."""
        for name, field in self.fields.items():
            is_number = isinstance(field, serializers.IntegerField) and name in values
            if is_number and not INTEGER.fullmatch(values[name]):
                yield name, [str(field.error_messages["invalid"])]
