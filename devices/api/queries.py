"""What an address asks for behind its `?`."""

from collections.abc import Iterator
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from devices.api.fields import INTEGER, NamesChoices
from devices.api.shared import shared


# An empty value is a value, and so a wrong one for most, where REST framework takes it for none, as
# of an empty field of a form. (A docstring would become a description.)
class Query(NamesChoices, serializers.Serializer[Any]):
    @classmethod
    def asked(cls, request: Request) -> dict[str, Any]:
        """The parameters of the address, checked. Raises ValidationError, which names the
        parameter and its limit."""
        return dict(shared(cls).run_validation(request.query_params))

    def to_internal_value(self, data: Any) -> Any:
        """`data` is the query_params of a request."""
        many = {name for name, one in self.fields.items() if isinstance(one, serializers.ListField)}
        values = {name: data.getlist(name) if name in many else data[name] for name in data}
        if wrong := {name: one for name, one in self._not_numbers(values)}:
            raise serializers.ValidationError(wrong)
        return super().to_internal_value(values)

    def _not_numbers(self, values: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
        """Python takes more for a number than the description says: `1_0`, and other digits."""
        for name, field in self.fields.items():
            is_number = isinstance(field, serializers.IntegerField) and name in values
            if is_number and not INTEGER.fullmatch(values[name]):
                yield name, [str(field.error_messages["invalid"])]
